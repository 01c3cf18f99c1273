"""Errors of the controller. Each class is one gRPC status (table: server/status.py); `reason` is the stable word that clients switch on."""

from collections.abc import Mapping


class ControllerError(Exception):
    """Root. The message says what happened, why, and what to do next; `metadata` travels in ErrorInfo."""

    def __init__(self, reason: str, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})


class NotFound(ControllerError):
    """No such thing."""


class InvalidArgument(ControllerError):
    """The request itself is wrong."""


class FailedPrecondition(ControllerError):
    """The request is right, the state is not. FENCED, CANCELED, SESSION_UNKNOWN, ..."""


class AlreadyExists(ControllerError):
    """The name or id is taken."""


class PermissionDenied(ControllerError):
    """Known caller, not theirs."""


class Unauthenticated(ControllerError):
    """Unknown caller."""


class ResourceExhausted(ControllerError):
    """Too many, too much."""


class Aborted(ControllerError):
    """Lost a race; read again and try again."""


class Unavailable(ControllerError):
    """Not now: draining, database or store not reachable."""


class DataLoss(ControllerError):
    """Bytes are not what they should be."""
