"""The store's port: repositories."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.catalogue import (
    Capabilities,
    RepositoryRecord,
    RepositoryTotals,
)


class Repositories(Protocol):
    """Repositories, creations under way, and the secrets that they need."""

    def repository(self, repository_id: str) -> RepositoryRecord | None: ...

    def repositories(self, after: str = "", limit: int | None = None) -> Sequence[RepositoryRecord]:
        """By name; those behind the name `after`, so many at most."""

    def repositories_named(self, text: str) -> Sequence[RepositoryRecord]: ...

    def add_repository(self, record: RepositoryRecord) -> None:
        """Raises AlreadyExists/NAME_TAKEN."""

    def set_capabilities(self, repository_id: str, capabilities: Capabilities) -> None:
        """What its store was found to promise by a later probe."""

    def totals(self, repository_id: str) -> RepositoryTotals: ...

    def secret(self, secret_id: str) -> bytes | None: ...

    def add_secret(self, secret_id: str, ciphertext: bytes) -> None: ...

    def creation(self, url: str) -> bytes | None:
        """The sealed creation under way in this place."""

    def begin_creation(self, url: str, ciphertext: bytes) -> bytes:
        """The creation of this place: the one that was begun before, else this one."""

    def end_creation(self, url: str) -> None:
        """Its repository's row stands. Repeatable."""
