"""Who operates, and what for. All times are microseconds since 1970 UTC; 0 means never."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each may do all that the one before may."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"

    def may(self, least: "Role") -> bool:
        """What needs at least that role."""
        order = list(Role)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True, slots=True)
class User:
    """`token_sha256`: hexadecimal; the token itself is nowhere but with the user. `changed_us` grows with every change of this user.

    A removed one keeps its row, without a token's hash: else an older export would bring it back.
    """

    name: str
    role: Role
    token_sha256: str
    created_us: int
    token_created_us: int
    changed_us: int
    removed_us: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token a call carries."""

    name: str
    role: Role


FIRST = Caller("init", Role.ADMIN)
"""Whose token `controller init` made. It is in no table: it opens the door when there is no database, and nobody can lock it out."""
