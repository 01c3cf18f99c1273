"""A worker stands back behind guests, alone and only itself."""

import subprocess
import sys

from seawall.agent.throttle.standing_back import AUTOGROUP, BEHIND_GUESTS, SESSION_BEHIND_GUESTS

PROGRAM = """
import os
from seawall.agent.throttle.standing_back import AUTOGROUP, stand_back
stand_back()
print(os.getpriority(os.PRIO_PROCESS, 0), AUTOGROUP.read_text().split()[-1] if AUTOGROUP.exists() else 0)
"""


def test_a_session_of_its_own_stands_back_as_a_whole() -> None:
    """Where the kernel has groups of sessions; else there is nothing to be seen but the thread's value."""
    assert told(own_session=True) == [BEHIND_GUESTS, SESSION_BEHIND_GUESTS if AUTOGROUP.exists() else 0]


def test_a_session_of_others_is_left_alone() -> None:
    before = int(AUTOGROUP.read_text().split()[-1]) if AUTOGROUP.exists() else 0
    assert told(own_session=False) == [BEHIND_GUESTS, before]


def told(*, own_session: bool) -> list[int]:
    """The nice values of the thread and of the session afterwards."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=True, capture_output=True, text=True, start_new_session=own_session)
    return [int(word) for word in done.stdout.split()]
