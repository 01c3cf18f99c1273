"""A raw disk image with a partition and an ext4 file system.

Mounted only inside a private mount namespace: nothing leaks when it is killed.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .places import PROJECT
from .recipe import IMAGE_BYTES, MIB, PARTITION_OFFSET

_PARTITION_BYTES = IMAGE_BYTES - 2 * MIB
"""The last MiB stays free for the second copy of the partition table."""


def run(*words: str, timeout_seconds: float = 1200) -> str:
    """Standard output of a command. Raises subprocess.CalledProcessError, after its standard error is shown."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_seconds)
    if done.returncode != 0:
        sys.stderr.write(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}\n")
        done.check_returncode()
    return done.stdout


def make_empty(image: Path, name: str) -> None:
    """A sparse file of IMAGE_BYTES with one partition and an empty file system; identifiers follow from `name`."""
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES)
    table = f"label: gpt\nlabel-id: {_identity(name, 'table')}\n"
    table += f"start={PARTITION_OFFSET // 512}, size={_PARTITION_BYTES // 512}, uuid={_identity(name, 'partition')}\n"
    subprocess.run(["sfdisk", "--quiet", str(image)], input=table, text=True, check=True, capture_output=True)
    extended = f"offset={PARTITION_OFFSET},hash_seed={_identity(name, 'hash')},lazy_itable_init=1"
    layout = ["-t", "ext4", "-q", "-F", "-m", "1", "-U", _identity(name, "filesystem"), "-E", extended]
    run("mke2fs", *layout, str(image), f"{_PARTITION_BYTES // 1024}k")


def _identity(name: str, part: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{part}.{name}.bench"))


def copy_sparse(source: Path, target: Path) -> None:
    run("cp", "--sparse=always", "--reflink=auto", str(source), str(target))


def allocated_bytes(path: Path) -> int:
    return os.stat(path).st_blocks * 512


def inside_namespace(module: str, words: Sequence[str]) -> None:
    """Run a module of this package with mounts and processes of its own, which end with it, and it with us.

    Raises subprocess.CalledProcessError.
    """
    alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["setpriv", "--pdeathsig", "KILL", *alone, sys.executable, "-m", f"tests.benchmarks.images.{module}"]
    subprocess.run([*command, *words], check=True, cwd=PROJECT)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The image's file system at `place`, in this mount namespace. The kernel frees the loop device with the mount."""
    place.mkdir(parents=True, exist_ok=True)
    options = f"loop,offset={PARTITION_OFFSET},sizelimit={_PARTITION_BYTES},noinit_itable"
    run("mount", "-t", "ext4", "-o", options, str(image), str(place))
    try:
        yield place
    finally:
        run("umount", str(place))
