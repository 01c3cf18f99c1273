"""A process that takes a capture and holds it, as a worker does, to be stopped or killed: `python capture_holder.py JSON`.

Prints `beginning` when the job is about to be asked for and `begun` when there is one (the guest is frozen, if it was to be), `captured`
when it has the capture, `ended REASON` when the capture ended by itself or could not be made, `closed` at its end, which the end of
standard input brings.
"""

import json
import select
import sys
from collections.abc import Sequence
from pathlib import Path

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.port import BackupDisk
from seawall.repository.clock import SystemClock

AGENT = "agent-1"
REPOSITORY = "abcdef0123456789"


class Held(LibvirtHypervisor):
    """Waits before the job begins, and after, until a file is there."""

    go: Path | None = None
    on: Path | None = None

    def begin_backup(
        self,
        vm_id: str,
        disks: Sequence[BackupDisk],
        socket: Path,
        checkpoint: str | None,
        targets: Sequence[str] | None = None,
    ) -> None:
        say("beginning")
        while self.go is not None and not self.go.exists():
            select.select([], [], [], 0.02)
        super().begin_backup(vm_id, disks, socket, checkpoint, targets)
        say("begun")
        while self.on is not None and not self.on.exists():
            select.select([], [], [], 0.02)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(text: str) -> None:
    """The JSON: vm, attempt, freeze, go ("" begins at once), on (the same for what comes after), and settings of a capture."""
    told = json.loads(text)
    request = CaptureRequest(
        told["vm"], told["attempt"], AGENT, REPOSITORY, told["freeze"], None, (), run_id=told.get("run", "")
    )
    paths = {name: Path(told["settings"][name]) for name in ("run_dir", "scratch_dir")}
    settings = CaptureSettings(**told["settings"] | paths)
    hypervisor = Held(settings.hypervisor)
    hypervisor.go = Path(told["go"]) if told["go"] else None
    hypervisor.on = Path(told["on"]) if told.get("on") else None
    try:
        with open_capture(request, hypervisor, settings, SystemClock()) as capture:
            say(f"captured frozen={capture.guest_frozen}")
            while not select.select([sys.stdin], [], [], 0.05)[0]:
                capture.check()
    except AgentError as error:
        say(f"ended {error.reason}")
    say("closed")


if __name__ == "__main__":
    main(sys.argv[1])
