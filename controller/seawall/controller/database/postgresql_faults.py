"""What PostgreSQL's errors mean: by SQLSTATE, and by what psycopg says of connections that broke."""

import psycopg
from sqlalchemy.exc import DBAPIError

from seawall.controller.database.again import Away, Conflict
from seawall.controller.errors import (
    ControllerError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)

CONFLICTS = ("40001", "40P01", "55P03")
"""serialization_failure, deadlock_detected, lock_not_available"""

UNIQUE = "23505"
FULL = "53100"
NUMBER = "22003"
READ_ONLY = "25006"
NO_RIGHTS = "42501"
DAMAGED = ("XX001", "XX002")
AWAY = ("08", "57P")
"""Beginnings: connection exceptions, shutdowns. The server that answered before may be another one soon."""

PAUSED = "25P03"
"""idle_in_transaction_session_timeout: this process stood still in the middle, the server ended its transaction."""

_FULL = (
    "The disk of the controller's PostgreSQL server is full: nothing can be written down. "
    "Free space there; what waits goes on by itself."
)


def sqlstate_of(error: DBAPIError) -> str:
    """Five characters, or "" when the server did not say."""
    return getattr(error.orig, "sqlstate", None) or ""


def is_disconnect(error: DBAPIError) -> bool:
    """The connection is gone, with or without a last word."""
    state = sqlstate_of(error)
    broken = isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError) and not state
    return error.connection_invalidated or broken or state.startswith(AWAY) or state == PAUSED


def meaning(error: DBAPIError) -> Exception:
    """What to raise instead, from it: Conflict, Away, a ControllerError; the error itself when it is a mistake of ours."""
    state = sqlstate_of(error)
    if state in CONFLICTS:
        return Conflict(text_of(error))
    if is_disconnect(error) or state == READ_ONLY:
        return Away(text_of(error))
    return _told(error, state) or error


def _told(error: DBAPIError, state: str) -> ControllerError | None:
    if state == FULL:
        return ResourceExhausted("DATABASE_FULL", _FULL)
    if state == NUMBER:
        return InvalidArgument("BAD_NUMBER", "A number in the request is out of bounds.")
    if state in DAMAGED:
        return DataLoss(
            "DATABASE_DAMAGED", f"The database cannot be read: {text_of(error)}. Restore it from your newest backup."
        )
    if state == NO_RIGHTS:
        return FailedPrecondition(
            "DATABASE_NO_RIGHTS",
            f"The database does not let this controller do its work: {text_of(error)}. Make its user the owner of the database.",
        )
    if isinstance(error.orig, psycopg.DataError):
        return InvalidArgument("BAD_TEXT", "A text in the request holds characters that the database does not keep.")
    if isinstance(error.orig, psycopg.OperationalError):
        return Unavailable("DATABASE", f"The database did not do it: {text_of(error)}. Try again.")
    return None


def text_of(error: BaseException) -> str:
    """The first line of what the server or the driver said."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0].rstrip(". ") if said else type(error).__name__
