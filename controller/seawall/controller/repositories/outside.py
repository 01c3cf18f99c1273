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
    StoreRefused,
    StoreUnavailable,
    TemporaryError,
    WrongKey,
)
from seawall.repository.store.location import LocationInvalid

_TABLE: tuple[tuple[type[RepositoryError], type[ControllerError], str], ...] = (
    (TemporaryError, Unavailable, "STORE_UNAVAILABLE"),
    (BucketMissing, FailedPrecondition, "BUCKET_MISSING"),
    (ForeignRepository, FailedPrecondition, "FOREIGN_REPOSITORY"),
    (WrongKey, FailedPrecondition, "FOREIGN_REPOSITORY"),
    (FormatUnsupported, FailedPrecondition, "NEEDS_UPGRADE"),
    (StoreRefused, FailedPrecondition, "BUCKET_REFUSED"),
    (ObjectMissing, DataLoss, "OBJECT_MISSING"),
    (IntegrityError, DataLoss, "OBJECT_DAMAGED"),
    (RepositoryError, DataLoss, "REPOSITORY"),
)


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


@contextmanager
def told_adding() -> Iterator[None]:
    """The words of AddRepository for what a store answered."""
    try:
        yield
    except LocationInvalid as error:
        raise InvalidArgument("BAD_URL", str(error)) from error
    except BucketMissing as error:
        raise FailedPrecondition("BUCKET_MISSING", f"{error} Create it first.") from error
    except StoreRefused as error:
        raise FailedPrecondition("BUCKET_REFUSED", str(error)) from error
    except StoreUnavailable as error:
        raise FailedPrecondition("BUCKET_UNREACHABLE", str(error)) from error
    except (ForeignRepository, WrongKey, FormatUnsupported, IntegrityError) as error:
        raise FailedPrecondition("FOREIGN_REPOSITORY", str(error)) from error
