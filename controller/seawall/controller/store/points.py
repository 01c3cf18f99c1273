"""The store's port: restore points."""

from collections.abc import Sequence
from typing import Protocol

from seawall.controller.records.catalogue import (
    Point,
    PointTotals,
)


class Points(Protocol):
    """Restore points."""

    def point(self, point_id: str) -> Point | None: ...

    def points_named(self, text: str) -> Sequence[Point]:
        """PUBLISHING and AVAILABLE ones."""

    def points(
        self, *, before: str = "", limit: int = 1000, vm_id: str = "", repository_id: str = "", policy_id: str = ""
    ) -> Sequence[Point]:
        """PUBLISHING and AVAILABLE ones, newest first, without their intents."""

    def newest(self, vm_id: str, repository_id: str) -> Point | None:
        """The AVAILABLE point of a VM in a repository that was published last: the parent of the next."""

    def newest_of_vms(self, vm_ids: Sequence[str]) -> dict[str, Point]:
        """VM id -> its newest AVAILABLE point anywhere."""

    def newest_since(self, published_us: int) -> dict[str, int]:
        """VM id -> the greatest instant of its AVAILABLE points that were published since then."""

    def unfinished(self) -> Sequence[str]:
        """Ids of PUBLISHING ones, oldest first."""

    def add_point(self, point: Point) -> None: ...

    def make_available(self, point_id: str, published_us: int) -> None:
        """AVAILABLE, its intent dropped: the bucket holds those bytes now."""

    def give_up(self, point_id: str) -> None:
        """FAILED, its intent dropped."""

    def given_up(self, repository_id: str) -> Sequence[Point]:
        """FAILED ones, by id."""

    def take_back(self, point_id: str, published_us: int) -> None:
        """FAILED to AVAILABLE: the bucket holds its manifest all the same. Raises Aborted/CHANGED."""

    def roots(self, repository_id: str, *, after: str = "", limit: int = 1000, since_seq: int = 0) -> Sequence[Point]:
        """What keeps slots alive: PUBLISHING, AVAILABLE and DELETING points, by id, without their intents. `since_seq`: only later ones."""

    def begin_delete(self, point_id: str, tombstone: bytes, now_us: int) -> None:
        """AVAILABLE to DELETING, with the exact bytes of its t/ object. Raises Aborted/CHANGED. The caller has looked at its pins."""

    def end_delete(self, point_id: str, now_us: int) -> None:
        """DELETING to DELETED. Raises Aborted/CHANGED."""

    def deleting(self, repository_id: str = "") -> Sequence[str]:
        """Ids of DELETING ones, oldest first."""

    def mark_damaged(self, point_id: str, damaged: str) -> None:
        """JSON of what is lost; "": nothing any more."""

    def unproven(self, repository_id: str, limit: int, *, again: bool = False) -> Sequence[Point]:
        """AVAILABLE, undamaged, and never looked at as `mark_proved` means it; by VM, in the order of publication. `again`: or in vain."""

    def newest_proven(self, repository_id: str, vm_id: str) -> Point | None: ...

    def mark_proved(self, point_id: str, verified_us: int) -> None:
        """When all that it needs was found read back and proven; negative: then it was not so. Nothing where it is not AVAILABLE."""

    def totals(self) -> PointTotals: ...
