"""The store's port: restore points."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from seawall.controller.records.catalogue import (
    Point,
    PointMark,
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

    def points_of(self, point_ids: Sequence[str]) -> Sequence[Point]:
        """Those of them that are PUBLISHING or AVAILABLE, in any order, without their intents."""

    def marks(self, policy_id: str, vm_ids: Collection[str] = ()) -> Iterator[PointMark]:
        """PUBLISHING and AVAILABLE ones that the policy made, by VM name, VM and repository; read as they are asked for, inside the
        transaction. `vm_ids`: of these alone, a thousand at most; (): of all.
        """

    def nominal_us(self, point_ids: Sequence[str]) -> dict[str, int]:
        """Point id -> when the policy that made it was due; without those of which nobody knows, and that no policy made."""

    def newest(self, vm_id: str, repository_id: str, tenant: str = "") -> Point | None:
        """The AVAILABLE point of a VM in a repository that was published last; of one tenant: the parent of its next."""

    def newest_of_vms(self, vm_ids: Sequence[str]) -> dict[str, Point]:
        """VM id -> its newest AVAILABLE point anywhere."""

    def newest_since(self, published_us: int) -> Mapping[str, Mapping[str, int]]:
        """Policy id, or "" -> VM id -> the greatest instant of its AVAILABLE points that were published since then. No instant counts as
        later than the publication, here and in the next two: a host's clock may be ahead.
        """

    def given_up_since(self, deleted_us: int) -> Mapping[str, Mapping[str, int]]:
        """The same of the points that were given up since then (`begin_delete`, `end_delete`)."""

    def newest_of_policy(self, policy_id: str, vm_ids: Sequence[str]) -> Mapping[str, int]:
        """VM id -> the greatest instant of its AVAILABLE points that the policy made; "": that somebody ordered."""

    def unfinished(self) -> Mapping[str, str]:
        """Id of each PUBLISHING one, oldest first -> its repository."""

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

    def root_ids(self, repository_id: str) -> Collection[str]:
        """Of all `roots`, in any order."""

    def unrefuted_ids(self, repository_id: str) -> Collection[str]:
        """Of AVAILABLE points, but for those that were proved in vain."""

    def begin_delete(self, point_id: str, tombstone: bytes, now_us: int) -> None:
        """AVAILABLE to DELETING, with the exact bytes of its t/ object. Raises Aborted/CHANGED. The caller has looked at its pins."""

    def end_delete(self, point_id: str, now_us: int) -> None:
        """DELETING to DELETED. Raises Aborted/CHANGED."""

    def deleting(self, repository_id: str = "") -> Mapping[str, str]:
        """Id of each DELETING one, oldest first -> its repository."""

    def mark_damaged(self, point_id: str, damaged: str) -> None:
        """JSON of what is lost; "": nothing any more."""

    def unproven(self, repository_id: str, limit: int, *, again: bool = False) -> Sequence[Point]:
        """AVAILABLE, undamaged, and never looked at as `mark_proved` means it; by VM, in the order of publication. `again`: or in vain."""

    def newest_proven(self, repository_id: str, vm_id: str) -> Point | None: ...

    def mark_proved(self, point_id: str, verified_us: int) -> None:
        """When all that it needs was found read back and proven; negative: then it was not so. Nothing where it is not AVAILABLE."""

    def mark_checked(self, point_id: str, checked_us: int, read_us: int) -> None:
        """When it was last looked at, and since when all that it needs was read. Nothing where it is not AVAILABLE."""

    def mark_tried(self, point_ids: Sequence[str], tried_us: int) -> None:
        """A check took them up, and left something undecided."""

    def unread(
        self, policy_id: str, repository_id: str, read_before_us: int, tried_before_us: int, limit: int
    ) -> Sequence[Point]:
        """AVAILABLE ones that were looked at before and neither read back nor tried since. The one that waits longest, then others of its
        VM, which share its data, then the rest in the order in which they wait.
        """

    def count_unread(self, policy_id: str, read_before_us: int) -> int:
        """AVAILABLE ones, older than that, that were not read back since."""

    def flawed(self, policy_id: str) -> Sequence[Point]:
        """AVAILABLE ones that are damaged, or were last found not whole. By VM, in the order of publication."""

    def totals(self) -> PointTotals: ...
