"""The store's port: policies, what they are to do next, and holds."""

from collections.abc import Collection, Sequence
from typing import Protocol

from seawall.controller.records.policies import DueFiring, Hold, Policy, PolicySpec


class Policies(Protocol):
    """Policies, what is due because of them, and holds."""

    def policies(self, *, deleted: bool = False, after: str = "", limit: int | None = None) -> Sequence[Policy]:
        """By name; those behind the name `after`, so many at most. `deleted`: those too."""

    def policy(self, policy_id: str) -> Policy | None: ...

    def policy_named(self, name: str) -> Policy | None:
        """Also a deleted one: names are never given to two."""

    def revision(self, policy_id: str, revision: int) -> PolicySpec | None:
        """As it was applied."""

    def add_policy(self, policy: Policy) -> None:
        """With its first revision."""

    def save_policy(self, before: Policy, after: Policy) -> None:
        """Compares the revision; a new one is kept beside the old ones. The name stays. Raises Aborted/CHANGED."""

    def mark_fired(self, policy_id: str, fired_us: int) -> None: ...

    def fired(self, policy_id: str, vm_ids: Sequence[str], nominal_us: int) -> frozenset[str]:
        """Those of the VMs that have a run, of whatever state, for this nominal time."""

    def backed_up_since(self, policy_id: str, repository_id: str, since_us: int) -> frozenset[str]:
        """Ids of VMs that have a point there, taken and published since then, of this policy; or one from the bucket of which nobody knows
        whose it is (repositories/adopting.py).
        """

    def in_the_way(self, policy_id: str, vm_ids: Sequence[str], repository_id: str) -> dict[str, tuple[str, str]]:
        """VM id -> (run id, policy id or "") of the policy's own open backup into the repository; where it has none, of the one that is
        under way there. What others have waiting is in nobody's way.
        """

    def skipped_since(self, policy_id: str, vm_ids: Sequence[str], run_ids: Sequence[str]) -> frozenset[str]:
        """Those VMs of which the policy skipped a firing since their run (the one at the same place) was made."""

    def open_runs(self, policy_id: str, *, begin_us: int, nominal_us: int, active: bool) -> Sequence[str]:
        """Ids, oldest first: READY ones that may begin before `begin_us` or were due before `nominal_us`; with `active`, ACTIVE ones
        that nobody cancelled.
        """

    def due(self, policy_id: str = "") -> Sequence[DueFiring]:
        """Oldest first."""

    def put_due(self, firing: DueFiring) -> None:
        """In place of an older one of the same policy and VM."""

    def drop_due(self, policy_id: str, vm_id: str = "") -> None:
        """That of one VM, or all of the policy."""

    def drop_due_of(self, policy_id: str, vm_ids: Sequence[str]) -> None:
        """Those of these VMs."""

    def durations_us(self, vm_ids: Sequence[str], since_us: int) -> dict[str, int]:
        """VM id -> how long its last good backup took, of those that ended since: its last attempt, from the place that it was given to
        the end. What it waited for before says nothing of the next one.
        """

    def cut_off(self, policy_id: str, since_us: int) -> frozenset[str]:
        """Ids of VMs of which a window of the policy ended a run since then, and none succeeded after it."""

    def backed_up(self, policy_id: str, since_us: int) -> Sequence[str]:
        """Ids, in order, of the VMs of which AVAILABLE points of the policy were published since."""

    def crowded(self, policy_id: str) -> Sequence[str]:
        """Ids, in order, of the VMs of which the policy has more than one AVAILABLE point in a repository."""

    def newest_us(self, policy_id: str) -> dict[str, int]:
        """VM id -> the instant of its newest AVAILABLE point of the policy, as far as it may be believed (`Points.newest_since`)."""

    def point_ids(self, policy_id: str, vm_id: str = "") -> Sequence[str]:
        """PUBLISHING and AVAILABLE points of the policy, oldest first."""

    def count_points(self, policy_id: str) -> int:
        """How many `point_ids` would name."""

    def hold(self, hold: Hold) -> None:
        """In place of an older one of the same point."""

    def release(self, point_id: str) -> bool:
        """False: there was none."""

    def drop_holds(self, now_us: int) -> int:
        """Those that are over; how many."""

    def holds_of(self, point_ids: Collection[str]) -> dict[str, Hold]:
        """Point id -> its hold. One that is over counts until `drop_holds`."""
