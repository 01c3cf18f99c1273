"""Tying a worker's life to its supervisor's: the kernel sends SIGTERM when the supervisor dies, however it dies."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Call first. Linux only. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def has_parent(pid: int) -> bool:
    """Whether the supervisor still is this process' parent. One that died before `end_with_parent` sent no signal.

    Its pid may be 1, as in a container, so a parent of 1 says nothing by itself.
    """
    return os.getppid() == pid
