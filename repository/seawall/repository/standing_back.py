"""Processor time that comes after others': what may wait stands back in the kernel's scheduler."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel shares processors among sessions first, nice values count within one alone (sched(7), "The autogroup feature")."""


def stand_back(thread: int, session: int) -> None:
    """Nice values of this thread with all that it starts, and of this session. Other threads keep theirs; what may not be set stays."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, thread)
    with suppress(OSError):
        if os.getsid(0) == os.getpid():  # ours alone: nobody else is slowed
            AUTOGROUP.write_text(str(session))
