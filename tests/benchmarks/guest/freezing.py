"""Many freezes of one guest, each around the beginning of a backup that is ended at once: nothing is read.

`python freezing.py JSON` on its host prints a line of JSON for each: what FrozenTime says, and how long the hypervisor took to begin.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock

THAWED_SECONDS = 15.0
PAUSE_SECONDS = 0.5


class Timed(LibvirtHypervisor):
    begin_ms = 0.0

    def begin_backup(self, *arguments: Any, **keywords: Any) -> None:
        begun = time.monotonic()
        super().begin_backup(*arguments, **keywords)
        self.begin_ms = (time.monotonic() - begun) * 1000


def main(words: Sequence[str]) -> int:
    told = json.loads(words[0])
    settings = CaptureSettings(Path(told["run_dir"]), Path(told["scratch_dir"]))
    hypervisor = Timed()
    for number in range(told["count"]):
        request = CaptureRequest(told["vm_id"], f"freeze{number}", "bench", "abcdef0123456789", "require", None, ())
        with open_capture(request, hypervisor, settings, SystemClock()) as capture:
            deadline = time.monotonic() + THAWED_SECONDS
            while not capture.frozen.total_ms and time.monotonic() < deadline:
                time.sleep(0.05)
                capture.check()
            line = capture.frozen.logged | {"begin_ms": round(hypervisor.begin_ms, 1), "frozen": capture.guest_frozen}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        time.sleep(PAUSE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
