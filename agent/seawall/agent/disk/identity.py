"""Which file lies at a path: names can be exchanged on a host, and a bitmap tells of its own file only. Asked by capture."""

import os
import stat

_WRITTEN = "@"


def source_id(path: str, *, as_written: bool = False) -> str:
    """ "inode:1234" for a regular file; "" where it cannot be told: another kind of source, or no such file.

    `as_written`: with the time of the last write in nanoseconds and the length, "inode:1234@1700000000000000000+65536".
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    return f"inode:{found.st_ino}" + (f"{_WRITTEN}{found.st_mtime_ns}+{found.st_size}" if as_written else "")


def tells_of_writes(identity: str) -> bool:
    """Whether any write to the file makes it another one."""
    return _WRITTEN in identity
