"""The store's port: who leads, the epoch of the database, and the row that orders publication against collection."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.leadership import Leader, LeaseRow, Replica


class Leadership(Protocol):
    """The leader row, the database's epoch, and the row that orders publication against collection."""

    def db_epoch(self) -> int: ...

    def raise_db_epoch(self) -> int:
        """After a roll-back was noticed: every attempt assigned before is fenced."""

    def acquire(self, holder: str, now_us: int, lease_us: int) -> Leader | None:
        """Take the lease when it is free, over, or the holder's own; the epoch grows. None: somebody else holds it."""

    def lease(self) -> LeaseRow: ...

    def connected(self, holder: str) -> bool:
        """Whether the database has a connection of the controller of this name. True where it cannot tell."""

    def take(self, seen: LeaseRow, replica: Replica, now_us: int, lease_us: int) -> Leader | None:
        """Take the lease if its row is still as it was seen; the epoch grows. None: it is another one. The caller knows that it is over."""

    def report(self, replica: Replica) -> None:
        """It is there; rows of those that were silent for a day go."""

    def replicas(self, since_us: int) -> Sequence[Replica]:
        """Those that reported since then, by id."""

    def raise_epoch(self, leader: Leader, above: int) -> Leader:
        """The same leadership under an epoch above the given one. Raises Unavailable/NOT_LEADER."""

    def renew(self, leader: Leader, now_us: int, lease_us: int) -> None:
        """Raises Unavailable/NOT_LEADER."""

    def release(self, leader: Leader) -> None: ...

    def check(self, leader: Leader) -> None:
        """Raises Unavailable/NOT_LEADER. First call of every leader's transaction."""

    def publications(self, repository_id: str) -> int:
        """The number of the last step that `order_publication` ordered."""

    def raise_publications(self, repository_id: str, to: int) -> None:
        """The next number is greater than this one. For what a bucket knows of a history that this database lost."""

    def opened_epoch(self, repository_id: str) -> int:
        """As which epoch a controller of this database last opened the repository, all that the bucket told it taken over. 0: never."""

    def note_opening(self, repository_id: str, epoch: int) -> None: ...

    def order_publication(self, leader: Leader, repository_id: str) -> int:
        """The row update that validation and every condemn slice begin with; its number. Raises Unavailable/NOT_LEADER."""
