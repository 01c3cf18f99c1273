"""Errors of the repository package, as calls report them. The one table; used at the edges where store and format errors come up."""

from collections.abc import Iterator
from contextlib import contextmanager

from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition, InvalidArgument, Unavailable
from seawall.repository.errors import (
    BucketMissing,
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RepositoryError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    TemporaryError,
    WrongKey,
)
from seawall.repository.store.location import LocationInvalid

_TABLE: tuple[tuple[type[RepositoryError], type[ControllerError], str], ...] = (
    (TemporaryError, Unavailable, "STORE_UNAVAILABLE"),
    (StoreFull, Unavailable, "STORE_FULL"),
    (BucketMissing, FailedPrecondition, "BUCKET_MISSING"),
    (ForeignRepository, FailedPrecondition, "FOREIGN_REPOSITORY"),
    (WrongKey, FailedPrecondition, "FOREIGN_REPOSITORY"),
    (FormatUnsupported, FailedPrecondition, "NEEDS_UPGRADE"),
    (StoreRefused, FailedPrecondition, "BUCKET_REFUSED"),
    (ObjectMissing, DataLoss, "OBJECT_MISSING"),
    (IntegrityError, DataLoss, "OBJECT_DAMAGED"),
    (RepositoryError, DataLoss, "REPOSITORY"),
)


_NEXT_STEPS = {
    "STORE_UNAVAILABLE": "Check the store, and that the controller reaches it; it goes on by itself.",
    "STORE_FULL": "Make room in the store or raise its quota; it goes on by itself.",
    "BUCKET_MISSING": "Bring the bucket back (a folder: mount it); it goes on by itself.",
    "BUCKET_REFUSED": "Check the repository's credentials, the bucket's policy, and the clocks of controller and store.",
    "FOREIGN_REPOSITORY": "Check that the repository's URL still leads to the same bucket.",
    "OBJECT_MISSING": "Something was deleted from the bucket: bring it back, or add a new repository.",
    "NEEDS_UPGRADE": "Upgrade the controller.",
}


STORE_TROUBLES = frozenset(_NEXT_STEPS)
"""Reasons that tell of a store."""

_OF_DAMAGE = {
    "OBJECT_DAMAGED": "Put the object back, from a replica of the bucket or an older version of it; "
    "`seawall repo check` says what else is lost.",
}


def next_step(reason: str) -> str:
    """What an operator can do about a store's trouble."""
    return _NEXT_STEPS.get(reason) or _OF_DAMAGE.get(reason, "See the controller's log.")


_ADVICE = {
    "BUCKET_MISSING": "Create it first, or correct the URL.",
    "BUCKET_REFUSED": "Look at the access key, its secret, and what the bucket's policy or the folder's mode allows.",
    "BUCKET_UNREACHABLE": "Look at the endpoint: http or https, name and port, as seen from the controller's machine.",
    "FOREIGN_REPOSITORY": "Use the place and the keys that belong together, or another, empty place.",
}
"""What to do next where a repository is added, by reason. To runs the agent says it: seawall.agent.control.failures."""


@contextmanager
def told() -> Iterator[None]:
    """Errors of stores and formats leave as ControllerError."""
    try:
        yield
    except RepositoryError as error:
        raise controller_error(error) from error


def controller_error(error: RepositoryError) -> ControllerError:
    kind, reason = next((ours, reason) for theirs, ours, reason in _TABLE if isinstance(error, theirs))
    return kind(reason, str(error))


def _with_advice(reason: str, error: RepositoryError) -> str:
    """What TLS, the region or the URL lack is said by the store itself."""
    told = str(error).rstrip(".")
    if any(word in told for word in ("TLS", "set ca_file=", "named by ca_file=", "set region=")):
        return told if told.endswith("?") else f"{told}."
    return f"{told}{'' if told.endswith('?') else '.'} {_ADVICE[reason]}"


@contextmanager
def told_adding() -> Iterator[None]:
    """The words of AddRepository for what a store answered."""
    try:
        yield
    except LocationInvalid as error:
        raise InvalidArgument("BAD_URL", str(error)) from error
    except BucketMissing as error:
        raise FailedPrecondition("BUCKET_MISSING", _with_advice("BUCKET_MISSING", error)) from error
    except StoreFull as error:
        raise FailedPrecondition("STORE_FULL", f"{error}. Make room in the store, or raise its quota.") from error
    except StoreUnavailable as error:
        raise FailedPrecondition("BUCKET_UNREACHABLE", _with_advice("BUCKET_UNREACHABLE", error)) from error
    except (ForeignRepository, WrongKey, FormatUnsupported, IntegrityError) as error:
        raise FailedPrecondition("FOREIGN_REPOSITORY", _with_advice("FOREIGN_REPOSITORY", error)) from error
    except RepositoryError as error:  # also what vanished between two looks: no place for a repository
        raise FailedPrecondition("BUCKET_REFUSED", _with_advice("BUCKET_REFUSED", error)) from error
