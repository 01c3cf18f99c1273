"""The store's port: packs, and what must not be collected yet."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.catalogue import (
    Pack,
)
from seawall.controller.records.maintenance import Pin


class Packs(Protocol):
    """Packs: one row each, never a row a chunk."""

    def packs(self, repository_id: str, pack_ids: Sequence[bytes]) -> dict[bytes, Pack]: ...

    def pack_page(self, repository_id: str, after: bytes, limit: int) -> Sequence[Pack]:
        """Packs of every state with greater ids, by id."""

    def unseen(self, repository_id: str, limit: int) -> Sequence[Pack]:
        """STORED packs that were never read whole, by id."""

    def seen(self, repository_id: str, limit: int) -> Sequence[Pack]:
        """STORED packs that were read whole, the one that was longest ago first, whatever that found."""

    def by_look(self, repository_id: str, limit: int) -> Sequence[Pack]:
        """`unseen`, then `seen`."""

    def flawed(self, repository_id: str) -> Sequence[Pack]:
        """STORED packs that were not whole when they were last read (`verified_us` below 0), by id. Bad slots are in no other."""

    def in_use(self, repository_id: str, pack_ids: Sequence[bytes], since_us: int) -> frozenset[bytes]:
        """Those whose attempt's run is open, or failed and the attempt ended after then: what they hold may be named soon."""

    def add_pack(self, pack: Pack) -> None: ...

    def save_pack(self, before: Pack, after: Pack) -> None:
        """What differs is written. For transactions that read `before` themselves."""

    def reopen(self, repository_id: str, pack_id: bytes, attempt_id: str) -> None:
        """An OPEN pack passes to a later attempt of the same host."""

    def mark_stored(self, repository_id: str, pack_id: bytes, size_bytes: int, slots: int) -> bool:
        """False: it was not OPEN any more."""

    def void(self, repository_id: str, pack_id: bytes) -> bool:
        """Given up for ever. False: it was not OPEN."""

    def void_unknown(self, repository_id: str, pack_ids: Sequence[bytes]) -> None:
        """Ids that no row has: given up for ever. Repeatable."""

    def void_ids(self, repository_id: str, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        """Those of them that `void_unknown` gave up."""


class Pins(Protocol):
    """What keeps a point from being deleted."""

    def pin(self, pin: Pin) -> None:
        """Repeatable for the same holder and point. Raises FailedPrecondition/POINT_NOT_AVAILABLE."""

    def pins_of(self, point_ids: Sequence[str]) -> Sequence[Pin]:
        """Those whose holder is open, oldest first."""

    def drop_spent(self, repository_id: str) -> int:
        """Rows of pins whose holder is over go; how many."""
