"""`make bench`: the same disk images through Seawall, restic and borg. As root, Debian 12.

python -m tests.benchmarks.images            everything; ROUNDS=n, CASES=full,next_day, ONLY=rgw|folder choose
python -m tests.benchmarks.images images     make the images alone
python -m tests.benchmarks.images profile    where the worker's time goes in the case `full`, into tests/benchmarks/PROFILE.md

The results are in build/bench/images.json. Ends with 1 when something is wrong, never for a slow figure.
"""

import shutil
import subprocess
import sys
import time

from deploy.lab.waiting import LabFailed

from .bitmap_case import BitmapFigures
from .cases import Choice, choose
from .comparing import WrongBytes
from .extras import controller_idle, worker_peak_of_2t
from .fleet import Fleet
from .making import NAMES, describe, image, make_images
from .measured import FOLDER, RGW, SEAWALL
from .places import BENCH, PASSING, PROJECT, RESULT
from .profiling import profile
from .report import Findings
from .rounds import Round

IMAGES_BYTES = 20 << 30
ROUND_BYTES = 30 << 30
"""What one round writes: the repositories of all tools, the restored images, the qcow2 disk."""
_BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:7.1f} s] {text}", flush=True)


def prepare() -> None:
    BENCH.mkdir(parents=True, exist_ok=True)
    check_space()
    subprocess.run([str(PROJECT / "deploy/install/bench.sh")], check=True)
    make_images(say)


def check_space() -> None:
    """Raises LabFailed: a full disk in the middle of a round would look like somebody's fault."""
    missing = [name for name in NAMES if not image(name).exists()]
    needed = ROUND_BYTES + (IMAGES_BYTES if missing else 0)
    free = shutil.disk_usage(BENCH).free
    if free < needed:
        raise LabFailed(f"{BENCH} has {free >> 30} GiB free; the bench needs {needed >> 30} GiB")


def measure(choice: Choice) -> Findings:
    """All rounds. Each has a fleet of its own; the last one's is looked at when it is idle."""
    findings = Findings(images=describe())
    for target, often in choice.rounds.items():
        for number in range(1, often + 1):
            say(f"{target}, round {number} of {often}")
            with Fleet() as fleet:
                _round(fleet, target, choice, number, findings)
                if target == RGW and number == often:
                    _extras(fleet, choice, findings)
            for place in PASSING:
                shutil.rmtree(place, ignore_errors=True)
            findings.seconds = time.monotonic() - _BEGAN
            findings.write(RESULT)
    return findings


def _round(fleet: Fleet, target: str, choice: Choice, number: int, findings: Findings) -> None:
    made = Round(fleet, choice.on(target), number, say, findings.rows.append)
    if target == FOLDER:
        made.in_folders()
    elif isinstance(figures := made.on_gateway(), BitmapFigures):
        findings.bitmap.append(figures.plain())
    peaks = [row.worker_peak_mib for row in findings.rows if (row.tool, row.case) == (SEAWALL, "full")]
    findings.worker_peak_mib["4G"] = round(max(peaks, default=0.0), 1)


def _extras(fleet: Fleet, choice: Choice, findings: Findings) -> None:
    if "worker_peak" in choice.extras:
        findings.worker_peak_mib["2T"] = round(worker_peak_of_2t(fleet), 1)
    if "controller_idle" in choice.extras:
        say("The controller, idle")
        findings.controller_idle = controller_idle(fleet)


def main(words: list[str]) -> int:
    """The exit code."""
    try:
        choice = choose()
        prepare()
        if words == ["images"]:
            return 0
        if words == ["profile"]:
            print(profile())
            return 0
        if words:
            print(__doc__, file=sys.stderr)
            return 2
        findings = measure(choice)
    except (LabFailed, WrongBytes, ValueError, subprocess.CalledProcessError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(f"\n{findings.table()}\n")
    say(str(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
