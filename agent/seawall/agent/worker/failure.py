"""From an error to what the operator reads: reason, sentence, next step, and whether to try again. Pure."""

from seawall.agent.control.messages import Failure
from seawall.agent.errors import AgentError, FailureKind
from seawall.repository import errors as repository

_SEE_LOG = "See the attempt's log on that host."

_STORE: tuple[tuple[type[Exception], str, str, FailureKind], ...] = (
    (
        repository.TemporaryError,
        "STORE_UNAVAILABLE",
        "Check that this host reaches the storage; it is tried again.",
        FailureKind.TRANSIENT,
    ),
    (
        repository.StoreFull,
        "STORE_FULL",
        "Make room in the store or raise its quota; it is tried again.",
        FailureKind.TRANSIENT,
    ),
    (
        repository.StoreRefused,
        "STORE_REFUSED",
        "Check the repository's credentials, the bucket's policy, and the clocks of host and storage; it is tried again.",
        FailureKind.TRANSIENT,
    ),
    (
        repository.BucketMissing,
        "BUCKET_MISSING",
        "Check the repository's bucket; a folder repository must be mounted on every host.",
        FailureKind.PERMANENT,
    ),
    (
        repository.ObjectMissing,
        "OBJECT_MISSING",
        "An object that the point needs is gone from the store: restore another point, or a replica.",
        FailureKind.PERMANENT,
    ),
    (
        repository.IntegrityError,
        "DATA_DAMAGED",
        "What the store returned is not what was written: restore another point, or a replica.",
        FailureKind.PERMANENT,
    ),
    (
        repository.FormatUnsupported,
        "FORMAT_UNSUPPORTED",
        "Upgrade the agent on this host.",
        FailureKind.PERMANENT,
    ),
    (repository.RepositoryError, "REPOSITORY_ERROR", _SEE_LOG, FailureKind.TRANSIENT),
)


def failure_of(error: BaseException) -> Failure:
    """What to report. An error that nobody foresaw says INTERNAL_ERROR and its type: its text may hold anything, so it stays in the log."""
    if isinstance(error, AgentError):
        return Failure(error.reason, str(error), error.next_step, error.kind)
    for kind, reason, next_step, verdict in _STORE:
        if isinstance(error, kind):
            return Failure(reason, str(error), next_step, verdict)
    if isinstance(error, MemoryError):
        return Failure(
            "OUT_OF_MEMORY", "the worker ran out of memory", "Free memory on the host.", FailureKind.TRANSIENT
        )
    return Failure("INTERNAL_ERROR", f"an unforeseen {type(error).__name__}", _SEE_LOG, FailureKind.TRANSIENT)
