"""Tying a worker's life to its supervisor's: the kernel sends SIGTERM when the supervisor dies, however it dies."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> bool:
    """Call first. False when the parent is dead already (then nobody wants this process). Linux only; elsewhere stdin's end suffices."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    return os.getppid() != 1
