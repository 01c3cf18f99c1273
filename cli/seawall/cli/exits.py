"""Exit codes: one table for every command. It is printed by `seawall --help` and stands in the README."""

import errno
import os
from enum import IntEnum

import grpc


class Exit(IntEnum):
    """What a command ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 4
    REFUSED = 5
    NOT_ALLOWED = 6
    UNREACHABLE = 7
    CANCELED = 8
    INTERRUPTED = 130


UNDECIDED = frozenset({Exit.UNREACHABLE, Exit.FAILED})
"""After these what was asked for may be done, or half done: whatever it was given (a key, a token) is kept."""

MEANING = {
    Exit.OK: "done (a run with warnings counts as done; the warnings are printed)",
    Exit.FAILED: "the run or job failed, damage was found, or something unexpected came",
    Exit.USAGE: "wrong command line or input; an empty argument, as of an unset variable",
    Exit.NOT_FOUND: "no such VM, host, run, point, policy, job, user or repository",
    Exit.REFUSED: "the state of things does not allow it",
    Exit.NOT_ALLOWED: "no token, a wrong token, or not permitted",
    Exit.UNREACHABLE: "the controller (for `rescue`: the store) cannot be reached",
    Exit.CANCELED: "the run or job was canceled",
    Exit.INTERRUPTED: "interrupted (Ctrl-C); what was started goes on, a rescue can be resumed",
}

BY_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.USAGE,
    grpc.StatusCode.OUT_OF_RANGE: Exit.USAGE,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.REFUSED,
    grpc.StatusCode.ALREADY_EXISTS: Exit.REFUSED,
    grpc.StatusCode.ABORTED: Exit.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    grpc.StatusCode.PERMISSION_DENIED: Exit.NOT_ALLOWED,
    grpc.StatusCode.UNAVAILABLE: Exit.UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNREACHABLE,
}


class CommandError(Exception):
    """Ends a command with one clear message and its exit code. `reason` is the stable word for scripts."""

    def __init__(self, code: Exit, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


_WRONG_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def system_error(error: OSError) -> CommandError:
    """What the operating system refused, on which path, and what to look at."""
    told = error.strerror or str(error)
    what = f"{error.filename}: {told}" if error.filename else told
    what = what.rstrip(".")
    if isinstance(error, PermissionError):
        advice = (
            "Are you root?" if os.geteuid() else "Look at its owner, mode and attributes, and those of its folders."
        )
        return CommandError(Exit.NOT_ALLOWED, "PERMISSION", f"{what}. {advice}")
    if error.errno in _WRONG_PATH and error.filename:
        return CommandError(Exit.USAGE, "BAD_PATH", f"{what}. Name another path, or put right what lies there.")
    if error.errno in _NO_ROOM:
        advice = "Make room there, or name another path." if error.filename else "Is it the answer that has no room?"
        return CommandError(Exit.REFUSED, "NO_ROOM", f"{what}. {advice}")
    if error.errno == errno.EROFS:
        return CommandError(Exit.REFUSED, "READ_ONLY", f"{what}. Mount it for writing, or name another path.")
    return CommandError(Exit.FAILED, "SYSTEM", f"{what}.")


def table_text() -> str:
    """The table for help texts, a line each."""
    lines = "\n".join(f"{code.value:>3}  {meaning}" for code, meaning in MEANING.items())
    return f"Exit codes:\n\n{lines}"
