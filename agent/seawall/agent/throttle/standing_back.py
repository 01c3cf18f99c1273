"""A backup's processor time comes after the guests': what reads, packs and sends stands back in the kernel's scheduler."""

import os
from contextlib import suppress
from pathlib import Path

BEHIND_GUESTS = 10
"""Nice value, as guests run at 0."""
SESSION_BEHIND_GUESTS = 5
"""A session of this value counts a third of a guest: where many want the processors a backup shall end all the same."""
AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel shares processors among sessions first, nice values count within one alone. Each QEMU is a session, and each worker."""


def stand_back() -> None:
    """This thread, with all that it starts, and this session. Other threads keep their nice value, and what may not be set stays."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, BEHIND_GUESTS)
    with suppress(OSError):
        if os.getsid(0) == os.getpid():  # ours alone, as the supervisor starts a worker: nobody else is slowed
            AUTOGROUP.write_text(str(SESSION_BEHIND_GUESTS))
