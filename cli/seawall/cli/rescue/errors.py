"""What a rescue meets, as the command's exit code and stable word. The one table."""

from collections.abc import Iterator
from contextlib import contextmanager

from seawall.cli.exits import CommandError, Exit
from seawall.cli.text import sentences
from seawall.repository.errors import (
    BucketMissing,
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RepositoryError,
    StoreRefused,
    TemporaryError,
    WrongKey,
)
from seawall.repository.rescue.errors import (
    DiskUnknown,
    KeyFileUnusable,
    PointAmbiguous,
    PointUnknown,
    RescueError,
    TargetBusy,
    TargetExists,
    TargetUnfit,
)
from seawall.repository.rescue.file_names import printable
from seawall.repository.store.location import LocationInvalid

_LATER = "Run the same command again when it answers: a restore goes on where it stopped."
_KEEP_GOING = "--keep-going restores everything else and lists what is lost."

_TABLE: tuple[tuple[type[RepositoryError], Exit, str, str], ...] = (
    (KeyFileUnusable, Exit.USAGE, KeyFileUnusable.reason, ""),
    (PointAmbiguous, Exit.USAGE, PointAmbiguous.reason, ""),
    (PointUnknown, Exit.NOT_FOUND, PointUnknown.reason, ""),
    (DiskUnknown, Exit.NOT_FOUND, DiskUnknown.reason, ""),
    (TargetExists, Exit.REFUSED, TargetExists.reason, ""),
    (TargetBusy, Exit.REFUSED, TargetBusy.reason, ""),
    (TargetUnfit, Exit.REFUSED, TargetUnfit.reason, ""),
    (LocationInvalid, Exit.USAGE, "BAD_URL", ""),
    (TemporaryError, Exit.UNREACHABLE, "STORE_UNAVAILABLE", _LATER),
    (BucketMissing, Exit.NOT_FOUND, "BUCKET_MISSING", ""),
    (StoreRefused, Exit.NOT_ALLOWED, "STORE_REFUSED", "Do the credentials allow to list and to read?"),
    (WrongKey, Exit.NOT_ALLOWED, "WRONG_KEY", "Is it the recovery key of this repository?"),
    (ForeignRepository, Exit.REFUSED, "FOREIGN_REPOSITORY", "Is the key file the sheet of this repository?"),
    (FormatUnsupported, Exit.REFUSED, "NEEDS_UPGRADE", ""),
    (ObjectMissing, Exit.FAILED, "OBJECT_MISSING", _KEEP_GOING),
    (IntegrityError, Exit.FAILED, "OBJECT_DAMAGED", _KEEP_GOING),
)


@contextmanager
def rescue_errors(*, keep_going: bool = True) -> Iterator[None]:
    """While points are listed or restored. `keep_going`: damage is passed over already, so that is no advice."""
    try:
        yield
    except RepositoryError as error:
        raise _command_error(error, keep_going) from error


@contextmanager
def opening_errors() -> Iterator[None]:
    """While the key is read and the repository opened: nothing there is a wrong place, not damage."""
    try:
        yield
    except ObjectMissing as error:
        raise CommandError(
            Exit.NOT_FOUND, "REPOSITORY_UNKNOWN", sentences(str(error), "Are bucket and prefix right?")
        ) from error
    except RepositoryError as error:
        raise _command_error(error, keep_going=True) from error


def _command_error(error: RepositoryError, keep_going: bool) -> CommandError:
    for kind, code, reason, advice in _TABLE:
        if isinstance(error, kind):
            told = "" if advice is _KEEP_GOING and keep_going else advice
            return CommandError(code, reason, printable(sentences(str(error), told)))
    reason = error.reason if isinstance(error, RescueError) else "REPOSITORY"
    return CommandError(Exit.FAILED, reason, printable(sentences(str(error))))
