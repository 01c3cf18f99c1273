"""Which file lies at a path: names can be exchanged on a host, and a bitmap tells of its own file only. Asked by capture."""

import os
import stat


def source_id(path: str) -> str:
    """ "inode:1234" for a regular file; "" where it cannot be told: another kind of source, or no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"inode:{found.st_ino}" if stat.S_ISREG(found.st_mode) else ""
