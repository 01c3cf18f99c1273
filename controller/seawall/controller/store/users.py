"""The store's port: users."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.users import User


class Users(Protocol):
    """Who operates, but for the first operator."""

    def user(self, name: str) -> User | None:
        """Also a removed one."""

    def users(self, *, removed: bool = False, after: str = "", limit: int | None = None) -> Sequence[User]:
        """By name, from the one after `after`; with `removed`, those too."""

    def with_token(self, token_sha256: str) -> User | None:
        """Whose it is, hexadecimal."""

    def add(self, user: User) -> None:
        """Its name is new."""

    def save(self, before: User, after: User) -> bool:
        """False: it is not as it was before."""
