"""Object Lock: what restore points need stays locked, however old it is (rules 12 and 13). Called at the end of a collection.

A bucket with a default retention locks what is put into it for so long and no longer, while a new point may need chunks that were stored
years ago. So whatever has less than half of that time left is locked for all of it anew. What no point needs runs out and can be deleted.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seawall.repository.clock import Clock
from seawall.repository.collecting.plan import Report
from seawall.repository.collecting.port import Ledger, PackFacts, PackStanding, RootState
from seawall.repository.errors import ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.format.layout import FORMAT_PREFIX, KEYS_PREFIX, manifest_name, pack_name, refmap_name
from seawall.repository.store.port import Store

_STEP = 100
_MOST_FAILURES = 3
"""A store that fails so often in a row is left alone until the next collection."""


@runtime_checkable
class Locks(Protocol):
    """What a store with Object Lock can do beyond `Store`. Times: microseconds since 1970 UTC. Thread-safe; every call may be repeated."""

    def lock_period_us(self) -> int:
        """For how long it locks what is put into it by itself; 0: it does not."""

    def locked_until_us(self, name: str) -> int:
        """0: not locked. Raises ObjectMissing, StoreRefused, StoreUnavailable."""

    def lock_until(self, name: str, until_us: int) -> None:
        """Longer than now, never shorter. Raises the same."""


@dataclass(frozen=True, slots=True)
class LockKeeper:
    store: Store
    locks: Locks
    ledger: Ledger
    clock: Clock
    report: Report
    condemned_now: Container[bytes] = frozenset()
    """Planned: packs that the collection would condemn whole before."""

    def keep(self) -> None:
        """What cannot be locked is reported, and tried again by the next collection. A plan only counts. Raises LedgerRefused."""
        try:
            period_us = self.locks.lock_period_us()
        except (StoreRefused, StoreUnavailable) as error:
            self.report.keep_back("the bucket's Object Lock", f"whether there is one cannot be told: {error}")
            return
        if not period_us:
            return
        failures = 0
        for count, name in enumerate(self._needed()):
            if count % _STEP == 0:
                self.ledger.may_continue()
                self.ledger.report(step="extending locks", locked_objects=self.report.locked.packs)
            try:
                self._extend(name, period_us)
                failures = 0
            except ObjectMissing:
                continue  # deleted or compacted meanwhile; what is lost otherwise, verification finds
            except (StoreRefused, StoreUnavailable) as error:
                self.report.keep_back(name, f"its lock was not extended: {error}")
                failures += 1
                if failures == _MOST_FAILURES:
                    return

    def _extend(self, name: str, period_us: int) -> None:
        now_us = self.clock.now_us()
        if self.locks.locked_until_us(name) < now_us + period_us // 2:
            if not self.report.plan_only:
                self.locks.lock_until(name, now_us + period_us)
            self.report.locked.add(0)

    def _needed(self) -> Iterator[str]:
        """Packs with a slot that was not condemned, manifests and refmaps, keys and config: without any of these nothing is restored."""
        for prefix in (KEYS_PREFIX, f"{FORMAT_PREFIX}config"):
            yield from (info.name for info in self.store.list(prefix))
        for root in self.ledger.roots():
            if root.state is RootState.AVAILABLE:
                yield manifest_name(root.tenant, root.vm_id, root.point_id)
                yield refmap_name(root.tenant, root.vm_id, root.point_id)
        for pack in self.ledger.packs():
            if pack.standing is PackStanding.STORED and pack.left and not self._leaves(pack):
                yield from (pack_name(pack.tenant, pack.pack_id, generation) for generation in pack.generations)

    def _leaves(self, pack: PackFacts) -> bool:
        """A plan looks before the collection has done its work: what it writes anew, the bucket locks by itself."""
        return self.report.plan_only and (pack.ripe or pack.pack_id in self.condemned_now)
