"""What stands in a restore's way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clash:
    """Something in the way. `fix`: what the operator can do about it."""

    reason: str
    message: str
    fix: str
