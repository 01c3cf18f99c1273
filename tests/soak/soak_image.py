"""The soak's guest program: built once per checkout; it boots from its own disk, labels and judges images. None of it is Seawall's."""

import fcntl
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.lab import guest_image
from deploy.lab.guest_image import find_kernel, make_boot_disk, make_initrd, run_tool
from deploy.lab.laboratory import BUILD
from deploy.lab.waiting import LabFailed

from .evidence import DiskVerdict
from .plan_words import BOOT_MIB, DiskPlan

MIB = 1 << 20
_SOURCES = Path(__file__).with_name("guest")
_AGENT = Path(guest_image.__file__).with_name("guest")
_MODULES = Path(__file__).parents[1] / "support"
_JUDGED = re.compile(
    r"SOAK-JUDGED wrong=(\d+) first=(-?\d+) id=([0-9a-f]+) done=(\d+) global=(\d+) bytes=(\d+) peers=(\S*)"
)


@dataclass(frozen=True)
class SoakImage:
    """`tool` is the guest's program, which runs here too; `boot` a file system that boots it, without labels."""

    tool: Path
    boot: Path

    def make_disk(self, plan: DiskPlan, target: Path) -> None:
        """A labelled disk in its format."""
        raw = target.with_suffix(".making")
        if plan.boots:
            run_tool("cp", "--sparse=always", str(self.boot), str(raw))
        else:
            raw.touch()
        with raw.open("r+b") as file:
            file.truncate(plan.length_bytes)
        run_tool(str(self.tool), "label", str(raw), str(_base(plan.target)), plan.disk_id)
        run_tool(str(self.tool), "play", str(raw), str(_base(plan.target)), str(plan.operations))
        if plan.format == "raw":
            raw.rename(target)
            return
        run_tool("qemu-img", "convert", "-f", "raw", "-O", plan.format, str(raw), str(target))
        raw.unlink()

    def judge(self, target: str, disk: Path, kind: str) -> DiskVerdict:
        """Every byte of the disk, as a guest would read it. Raises LabFailed when the program says nothing of use."""
        plain = disk
        if kind != "raw":
            plain = disk.with_name(disk.name + ".judged")
            run_tool("qemu-img", "convert", "-f", kind, "-O", "raw", str(disk), str(plain))
        words = [
            str(self.tool),
            "judge",
            str(plain),
            str(_base(target)),
            *([str(self.boot)] if target == "vda" else []),
        ]
        said = subprocess.run(words, capture_output=True, text=True)
        if plain != disk:
            plain.unlink()
        return parse_verdict(said.stdout + said.stderr)


def parse_verdict(said: str) -> DiskVerdict:
    found = _JUDGED.search(said)
    if found is None:
        raise LabFailed(f"the soak's tool says {said!r}")
    wrong, first, disk_id, done, count, length, peers = found.groups()
    pairs = [one.split(":") for one in peers.split(",") if one]
    known = {name: int(operations) for name, operations in pairs}
    return DiskVerdict(int(wrong), int(first), disk_id, int(done), int(count), int(length), known)


def _base(target: str) -> int:
    return BOOT_MIB * MIB if target == "vda" else 0


def build_tool(tool: Path) -> None:
    """Compile the program."""
    sources = sorted(str(path) for path in _SOURCES.glob("*.c"))
    flags = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-static", f"-I{_AGENT}", f"-I{_MODULES}"]
    run_tool("gcc", *flags, "-o", str(tool), *sources, str(_AGENT / "agent.c"))


def build_soak_image(directory: Path = BUILD / "soak-guest") -> SoakImage:
    """Made in `directory`, or taken from there when it is newer than all that it is made of."""
    directory.mkdir(parents=True, exist_ok=True)
    image, kernel = SoakImage(directory / "soak", directory / "boot.raw"), find_kernel(BUILD / "kernel")
    ingredients = [kernel.image, Path(__file__), _MODULES / "guest_modules.h", *_SOURCES.iterdir(), *_AGENT.iterdir()]
    with open(directory / "lock", "w") as lock:  # another soak may be building it at this moment
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(path.stat().st_mtime for path in ingredients)
        if not image.boot.exists() or not image.tool.exists() or image.boot.stat().st_mtime <= newest:
            build_tool(image.tool)
            unfinished = image.boot.with_suffix(".unfinished")
            make_boot_disk(unfinished, kernel, make_initrd(directory, image.tool, kernel))
            unfinished.replace(image.boot)
    return image
