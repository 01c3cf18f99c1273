"""Deletes what the retention of policies does not keep: each policy its own points. Part of the leader; belongs to the event loop.

Nothing goes before the buckets were asked whether the database is older than they are (recovering/decisions.py): what holds a point,
and the policy that keeps it, may be among what it lost.

A VM's points change their verdicts when a new one is published, when the policy changes, and when a hold or a pin goes. So the VMs with new
points are judged after each run, and everything once an hour and when somebody changed a policy or a hold.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.forgetting.plan import judged
from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.records.policies import Policy
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import ENDED, RETENTION, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import SECOND_US
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock

SWEEP_SECONDS = 3600.0
OVERLAP_US = 60 * SECOND_US
"""A publication is seen a little after the time that it bears."""
SLICE = 200
NOT_LEADER = "NOT_LEADER"
_MAY_WAIT = ("POINT_PINNED", "POINT_NOT_AVAILABLE")
"""Somebody began to use a point, or deletes it too: the next sweep looks again."""

_log = structlog.get_logger()


class Expiring:
    """One for the controller. `wall` judges the points' instants, `clock` their publications."""

    def __init__(
        self,
        store: Store,
        deletions: Deletions,
        lease: LeaderLease,
        blocking: Blocking,
        wakes: Wakes,
        wall: Clock,
        clock: Clock,
        interval_seconds: float,
        unsettled: Callable[[Transaction], Sequence[str]] = lambda transaction: (),
    ) -> None:
        """`unsettled`: why nothing may be deleted by itself now; nothing where nothing speaks against it."""
        self._store = store
        self._deletions = deletions
        self._lease = lease
        self._blocking = blocking
        self._wakes = wakes
        self._wall = wall
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._unsettled = unsettled
        self._waits: Sequence[str] = ()
        self._swept: float | None = None
        self._since_us = 0
        self._revisions: dict[str, int] = {}
        self._zoneless: dict[str, int] = {}
        """Policy id -> the revision of which was told that nobody knows its zone."""
        self._seen = wakes.seen(RETENTION)

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts. Looks at most once an interval, and soon after a run ended."""
        while not drain.started:
            seen = self._wakes.seen(ENDED)
            try:
                await self.run_once()
            except ControllerError as error:
                _log.warning("retention.look_refused", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look reads everything anew.
                _log.exception("retention.look_failed")
            await drain.first(drain.wait(), self._interval_seconds)
            # What it waits for ends without a run: no store tells that it is back.
            longest = self._interval_seconds if self._waits else SWEEP_SECONDS / 60
            await drain.first(self._wakes.changed(seen, ENDED), longest)

    async def run_once(self) -> None:
        """Raises Unavailable/NOT_LEADER, and what the store says no with."""
        self._lease.current  # noqa: B018 - raises unless this controller leads
        if await self._store.read(self._must_wait):
            return
        now = self._clock.monotonic_seconds()
        seen, began_us = self._wakes.seen(RETENTION), self._clock.now_us()
        whole = self._swept is None or now - self._swept >= SWEEP_SECONDS or seen != self._seen
        if whole:
            # A wall clock that was set ahead ends no hold: what is deleted then is gone for good.
            over_us = min(self._wall.now_us(), self._clock.now_us())
            await self._store.write(lambda transaction: transaction.policies.drop_holds(over_us))
        for policy in await self._store.read(lambda transaction: transaction.policies.policies()):
            try:
                if not policy.spec.retention.keeps_nothing and self._zone_is_known(policy):
                    await self._expire(policy, whole or self._revisions.get(policy.id) != policy.revision)
                self._revisions[policy.id] = policy.revision
            except ControllerError as error:
                if error.reason == NOT_LEADER:
                    raise
                # Its repository is away, say: the other policies go on, and all of this one is judged next time.
                _log.warning("retention.refused", policy=policy.name, reason=error.reason, error=str(error))
                self._revisions.pop(policy.id, None)
        self._since_us = began_us - OVERLAP_US
        self._seen, self._swept = seen, now if whole else self._swept

    def _zone_is_known(self, policy: Policy) -> bool:
        """What a day is to a policy whose zone an upgrade took away, nobody can say: all that it made stays, and the others go on.

        Told once until somebody changes the policy: retention looks at it every few seconds.
        """
        try:
            CompiledSpec(policy.spec).zone  # noqa: B018 - raises
        except (ValueError, LookupError) as error:
            if self._zoneless.get(policy.id) != policy.revision:
                _log.warning("retention.zone_unknown", policy=policy.name, zone=policy.spec.zone, error=str(error))
            self._zoneless[policy.id] = policy.revision
            return False
        return True

    def _must_wait(self, transaction: Transaction) -> bool:
        before, self._waits = self._waits, self._unsettled(transaction)
        if self._waits and self._waits != before:
            _log.warning("retention.waits_for_stores", why=list(self._waits))
        return bool(self._waits)

    async def _expire(self, policy: Policy, whole: bool) -> None:
        vm_ids = await self._store.read(lambda transaction: self._vm_ids(transaction, policy.id, whole))
        for some in in_batches(vm_ids, SLICE):
            going = await self._store.read(partial(_going, policy=policy, vm_ids=some, now_us=self._wall.now_us()))
            for ids in in_batches(going, SLICE):
                if not await self._store.read(partial(_stands, policy=policy)):
                    return
                await self._delete(policy, ids)

    def _vm_ids(self, transaction: Transaction, policy_id: str, whole: bool) -> Sequence[str]:
        """A VM's only point is its newest, which no rule lets go: a sweep of a large fleet would read little else."""
        if whole:
            return transaction.policies.crowded(policy_id)
        return transaction.policies.backed_up(policy_id, self._since_us)

    async def _delete(self, policy: Policy, point_ids: list[str]) -> None:
        try:
            await self._blocking.run(lambda: self._deletions.delete(point_ids))
        except ControllerError as error:
            if error.reason not in _MAY_WAIT:
                raise
            _log.info("retention.waits", policy=policy.name, reason=error.reason, error=str(error))
            return
        _log.info("retention.deleted", policy=policy.name, revision=policy.revision, points=len(point_ids))


def _stands(transaction: Transaction, policy: Policy) -> bool:
    """Whether it is still as it was read."""
    current = transaction.policies.policy(policy.id)
    return current is not None and not current.deleted_us and current.revision == policy.revision


def _going(transaction: Transaction, policy: Policy, vm_ids: Sequence[str], now_us: int) -> list[str]:
    """Ids of the VMs' points that go; none when the policy changed meanwhile."""
    if not _stands(transaction, policy):
        return []
    retention, zone = policy.spec.retention, CompiledSpec(policy.spec).zone
    slices = judged(transaction, policy.id, retention, now_us, zone, vm_ids)
    return [verdict.id for some in slices for verdict in some if not verdict.keep]
