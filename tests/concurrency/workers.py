"""How many worker processes of backups this process has at this moment."""

import os
from pathlib import Path

from support.agent_file_joined import FILE_WORKER


def most_workers() -> int:
    script = FILE_WORKER[-1].encode()
    found = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            found += parent == os.getpid() and script in (status.parent / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
    return found
