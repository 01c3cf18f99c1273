"""`python -m seawall.agent.capture.guard FOLDER`: guards the capture whose socket lies in that folder. Only a capture starts it.

It outlives its owner by as much as it takes to thaw the guest and to end the job. It imports little: the guest waits for it.
"""

import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from seawall.agent.capture.guard.loop import Guard
from seawall.agent.capture.guard.pipe_lines import PipeLines
from seawall.agent.capture.guard.protocol import parse_setup
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock

SETUP_MILLISECONDS = 10_000
CRASHED = 70
LAST_TO_BE_KILLED = "-900"  # OOM score adjustment
BEFORE_OTHERS = -10  # nice value


def main() -> int:
    """Ignores every polite signal: its owner's end is what ends it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    threading.excepthook = _end_with
    _stay_able()
    orders = PipeLines(sys.stdin.fileno())
    line = orders.line(SETUP_MILLISECONDS)
    if not line:
        return CRASHED
    setup, clock = parse_setup(line), SystemClock()
    Guard(setup, LibvirtHypervisor(setup.uri, clock), clock, orders, sys.stdout.fileno()).run()
    return 0


def _stay_able() -> None:
    """To do its work on a host that is short of memory or CPU. What this process may not set stays as it is."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(LAST_TO_BE_KILLED)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, BEFORE_OTHERS)


def _end_with(arguments: threading.ExceptHookArgs) -> None:
    """A guard that lost one of its threads guards nothing: its owner shall notice."""
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(CRASHED)


if __name__ == "__main__":
    code = main()
    os._exit(code)  # calls that hang in libvirt do not hold it up
