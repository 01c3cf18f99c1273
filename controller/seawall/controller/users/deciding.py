"""What becomes of a user by an operator's order: the row as it is, or None, and what is asked → the row as it will be. Pure.

Each change is later than the one before of the same user, whatever the clock says: of two copies of a row the later one counts.
"""

import re
from dataclasses import replace
from hashlib import sha256

from seawall.controller.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from seawall.controller.records.users import FIRST, Role, User

LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")


def added(before: User | None, name: str, role: Role, token: bytes, now_us: int) -> User:
    """`token`: its SHA-256. Raises InvalidArgument/BAD_NAME, BAD_TOKEN_HASH; AlreadyExists/NAME_TAKEN."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidArgument(
            "BAD_NAME",
            f"{name[:LONGEST_NAME]!r} is no name of a user: small letters, digits, and . _ - between them, {LONGEST_NAME} at most.",
        )
    if name == FIRST.name or (before is not None and not before.removed_us):
        raise AlreadyExists("NAME_TAKEN", f"There is a user {name} already; take another name.")
    at_us = _after(before, now_us)
    return User(name, role, _hex(token), at_us, at_us, at_us)


def with_role(before: User | None, name: str, role: Role, now_us: int) -> User:
    """Raises NotFound/USER_UNKNOWN, FailedPrecondition/USER_BUILT_IN."""
    here = _there(before, name)
    return here if here.role is role else replace(here, role=role, changed_us=_after(here, now_us))


def renewed(before: User | None, name: str, token: bytes, now_us: int) -> User:
    """Raises as `with_role` does; InvalidArgument/BAD_TOKEN_HASH."""
    here = _there(before, name)
    at_us = _after(here, now_us)
    return replace(here, token_sha256=_hex(token), token_created_us=at_us, changed_us=at_us)


def removed(before: User | None, name: str, now_us: int) -> User:
    """Raises as `with_role` does."""
    here = _there(before, name)
    at_us = _after(here, now_us)
    return replace(here, token_sha256="", changed_us=at_us, removed_us=at_us)


def later(here: User | None, there: User) -> bool:
    """Whether the other copy of a row is the one that counts."""
    return here is None or there.changed_us > here.changed_us


def _there(user: User | None, name: str) -> User:
    if name == FIRST.name:
        raise FailedPrecondition(
            "USER_BUILT_IN",
            f"{name} is the first operator, whom `controller init` made. Its token is the one in the state directory's operator.toml, "
            "and nobody can change or remove it.",
        )
    if user is None or user.removed_us:
        raise NotFound("USER_UNKNOWN", f"There is no user {name[:LONGEST_NAME]!r}; see `seawall user list`.")
    return user


def _after(before: User | None, now_us: int) -> int:
    return max(now_us, before.changed_us + 1) if before is not None else now_us


def _hex(token_sha256: bytes) -> str:
    if len(token_sha256) != sha256().digest_size:
        raise InvalidArgument("BAD_TOKEN_HASH", "The SHA-256 of a token has 32 bytes.")
    return token_sha256.hex()
