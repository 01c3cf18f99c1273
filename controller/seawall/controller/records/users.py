"""Who operates, and what for. All times are microseconds since 1970 UTC; 0 means never."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each may do all that the one before may. Another word, which only a later version knows, is kept as it is, and may do nothing."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"

    @classmethod
    def _missing_(cls, value: object) -> "Role":
        later = str.__new__(cls, value)
        later._name_ = later._value_ = str(value)
        return later

    def __deepcopy__(self, memo: object) -> "Role":
        return self  # an enum looks itself up by its name

    def may(self, least: "Role") -> bool:
        """What needs at least that role."""
        order = list(Role)
        return self in order and order.index(self) >= order.index(least)


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
