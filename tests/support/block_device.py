"""A loop device over a file of the test's own: a real block device. Needs root; it is detached at the end."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loop_device(backing: Path, size_bytes: int) -> Iterator[Path]:
    """The device; the file behind it is filled with a pattern, as a disk that was used before."""
    with backing.open("wb") as file:
        for at in range(0, size_bytes, 1 << 20):
            file.write(b"\xa5" * min(1 << 20, size_bytes - at))
    made = subprocess.run(
        ["losetup", "--find", "--show", str(backing)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield Path(made)
    finally:
        subprocess.run(["losetup", "--detach", made], check=True)


@contextmanager
def small_file_system(place: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of this size, mounted at `place`."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
