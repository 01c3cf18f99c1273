"""The guest's disks: vda boots by itself (FAT, syslinux, kernel, initramfs) and holds data behind that; vdb is data alone.

Nothing is mounted to make them: mtools and syslinux write into image files. Needs gcc, cpio, mtools, dosfstools, syslinux and a kernel.
"""

import fcntl
import gzip
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from deploy.lab.waiting import LabFailed

MIB = 1 << 20
VDA_BYTES = 256 * MIB
VDB_BYTES = 192 * MIB + 3 * 512
"""Not a whole number of chunks, clusters or pages: so is many a raw disk."""

_BOOT_MIB = 24
_SOURCES = Path(__file__).with_name("guest")
_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("virtio_blk", "virtio_console"),
)
"""In the order in which they depend on each other."""

_SYSLINUX = (
    "DEFAULT seawall\nPROMPT 0\nTIMEOUT 0\nLABEL seawall\n  KERNEL vmlinuz\n  INITRD initrd\n  APPEND {arguments}\n"
)
_KERNEL_ARGUMENTS = "console=ttyS0 quiet loglevel=3 panic=1 tsc=unstable no_timer_check"


@dataclass(frozen=True)
class Kernel:
    """A kernel image with the directory of its modules (the one that holds `kernel/`)."""

    image: Path
    modules: Path


@dataclass(frozen=True)
class GuestImage:
    """Finished disks, to be copied for each guest, and the tool that checks them."""

    vda: Path
    vdb: Path
    tool: Path

    def to_raw(self, targets: dict[str, Path]) -> None:
        """Write both disks as raw files."""
        run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.vda), str(targets["vda"]))
        run_tool("cp", "--sparse=always", str(self.vdb), str(targets["vdb"]))

    def tool_says(self, verb: str, disks: dict[str, Path], *more: str) -> str:
        """What the guest's program prints when it is run here on raw images: `verify`, `advance`, or `replay` with a number."""
        argv = [str(self.tool), verb, str(disks["vda"]), str(disks["vdb"]), *more]
        return subprocess.run(argv, capture_output=True, text=True).stdout


def find_kernel(root: Path) -> Kernel:
    """The newest cloud kernel below `root` (what deploy/install/system.sh unpacked), else of this machine. Raises LabFailed."""
    for base in (root, Path("/")):
        images = sorted((base / "boot").glob("vmlinuz-*-cloud-*"), key=lambda path: path.stat().st_mtime)
        for image in reversed(images):
            modules = base / "lib/modules" / image.name.removeprefix("vmlinuz-")
            if (modules / "kernel").is_dir():
                return Kernel(image, modules)
    raise LabFailed(f"no cloud kernel in {root} or /boot: run deploy/install/system.sh")


def build_guest(directory: Path, kernel: Kernel) -> GuestImage:
    """Make the disks in `directory`, or take those that are there when they are newer than all they are made of."""
    directory.mkdir(parents=True, exist_ok=True)
    image = GuestImage(directory / "vda.qcow2", directory / "vdb.raw", directory / "guest")
    with open(directory / "lock", "w") as lock:  # another laboratory may be building it at this moment
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_fresh(image, kernel):
            _build(directory, image, kernel)
    return image


def _build(directory: Path, image: GuestImage, kernel: Kernel) -> None:
    _compile(image.tool)
    vda = directory / "vda.raw"
    make_boot_disk(vda, kernel, make_initrd(directory, image.tool, kernel))
    os.truncate(vda, VDA_BYTES)
    image.vdb.unlink(missing_ok=True)
    image.vdb.touch()
    os.truncate(image.vdb, VDB_BYTES)
    run_tool(str(image.tool), "format", str(vda), str(image.vdb))
    unfinished = image.vda.with_suffix(".tmp")
    run_tool(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-o",
        "compat=1.1,lazy_refcounts=off",
        str(vda),
        str(unfinished),
    )
    vda.unlink()
    unfinished.replace(image.vda)  # last: it marks the set as complete


def _is_fresh(image: GuestImage, kernel: Kernel) -> bool:
    if not all(path.exists() for path in (image.vda, image.vdb, image.tool)):
        return False
    ingredients = [kernel.image, Path(__file__), *_SOURCES.iterdir()]
    return all(path.stat().st_mtime < image.vda.stat().st_mtime for path in ingredients)


def _compile(tool: Path) -> None:
    sources = sorted(str(path) for path in _SOURCES.glob("*.c"))
    run_tool("gcc", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(tool), *sources)


def make_initrd(
    directory: Path,
    init: Path,
    kernel: Kernel,
    more_modules: Sequence[str] = (),
    more_files: Mapping[str, Path] = MappingProxyType({}),
) -> Path:
    """`more_files`: path in the guest, without its first slash -> file here."""
    tree = directory / "initramfs"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("dev", "proc", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(init, tree / "init")
    for number, name in enumerate((*_MODULES, *more_modules)):
        found = next(kernel.modules.rglob(f"{name}.ko"), None)
        if found is not None:  # else it is built into this kernel
            shutil.copy(found, tree / "modules" / f"{number:02}-{name}.ko")
    for name, source in more_files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / name)
    files = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
        cwd=tree,
        input=files.encode(),
        capture_output=True,
        check=True,
    )
    initrd = directory / "initrd"
    initrd.write_bytes(gzip.compress(archive.stdout, 6, mtime=0))
    shutil.rmtree(tree)
    return initrd


def make_boot_disk(disk: Path, kernel: Kernel, initrd: Path) -> None:
    """A FAT file system over the first bytes of the disk, without partitions: its first sector is the boot sector."""
    disk.unlink(missing_ok=True)
    config = disk.with_name("syslinux.cfg")
    config.write_text(_SYSLINUX.format(arguments=_KERNEL_ARGUMENTS))
    run_tool("mkfs.fat", "-C", "-n", "SEAWALL", str(disk), str(_BOOT_MIB * 1024))
    for source, name in ((kernel.image, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        run_tool("mcopy", "-i", str(disk), str(source), f"::{name}")
    run_tool("syslinux", "--install", str(disk))


def run_tool(*argv: str) -> None:
    """Run a program on this machine. Raises LabFailed with what it said."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabFailed(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
