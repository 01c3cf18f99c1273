"""Whether the file system of an SQLite database has room: a database that cannot grow may still write a little, and then again not."""

import os
from pathlib import Path

from seawall.controller.vitals.troubles import Trouble

LOW_BYTES = 8 * 1024 * 1024
FULL = "DATABASE_FULL"


def trouble_of_room(folder: Path) -> Trouble | None:
    try:
        found = os.statvfs(folder)
    except OSError:  # its disk fails, or it is not there: whether it can be written is what writes say
        return None
    free = found.f_bavail * found.f_frsize
    if free >= LOW_BYTES:
        return None
    return Trouble(
        FULL,
        f"the file system of the controller's database ({folder}) has only {free // 1024} KiB left: nothing new is started. Free space "
        "there; what is under way goes on, and what waits to be written down waits.",
        ready=False,
    )
