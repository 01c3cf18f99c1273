"""Who stands back behind others does so alone and only itself."""

import subprocess
import sys

from seawall.repository.standing_back import AUTOGROUP

THREAD, SESSION = 10, 5
PROGRAM = f"""
import os
from seawall.repository.standing_back import stand_back
stand_back({THREAD}, {SESSION})
print(os.getpriority(os.PRIO_PROCESS, 0), open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else "")
"""


def test_a_session_of_its_own_stands_back_as_a_whole() -> None:
    """Where the kernel has groups of sessions; else there is nothing to be seen but the thread's value."""
    assert told(own_session=True) == (THREAD, SESSION if AUTOGROUP.exists() else None)


def test_a_session_of_others_is_left_alone() -> None:
    before = session_value(AUTOGROUP.read_text()) if AUTOGROUP.exists() else None
    assert told(own_session=False) == (THREAD, before)


def told(*, own_session: bool) -> tuple[int, int | None]:
    """The nice values of the thread and of its session afterwards."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=True, capture_output=True, text=True, start_new_session=own_session)
    thread, _, session = done.stdout.strip().partition(" ")
    return int(thread), session_value(session)


def session_value(shown: str) -> int | None:
    """The nice value of a session as its `autogroup` shows it; None where that is empty, as for what never left the first session."""
    words = shown.split()
    return int(words[-1]) if words else None
