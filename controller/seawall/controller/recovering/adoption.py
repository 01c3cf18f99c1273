"""The points of a bucket into an empty catalogue, VM by VM, in their old order. Blocking; what is there stays, so it may be repeated.

Unlike the replay at a leader's start (repositories/adopting.py), nothing is known of what was condemned and when: the bucket itself is
believed. A point counts when all slots that it names lie in their packs. Slots that a condemn log names and no point are condemned with
their packs' rows; a slot that a point names is not, whatever a log says: a log that came too late is void and looks like any other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby

import structlog
from blake3 import blake3

from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.records.known import KnownPoint, KnownVm
from seawall.controller.recovering.putting_back import host_or_nobody
from seawall.controller.repositories.adopting import UNREADABLE, Found, adopt_point, pack_as_stored
from seawall.controller.repositories.readers import store_readers
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.text import printable
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.format.layout import PointName
from seawall.repository.format.root_object import Statement
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.repository import OpenRepository

AT_ONCE = 32
"""Points in one transaction."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Adopted:
    """What became of the points so far. `refused`: point id -> why. `without_facts`: of those, no export says host and policy."""

    points: int = 0
    known: int = 0
    verified: int = 0
    without_facts: int = 0
    vms: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        return self.points + self.known + len(self.refused)


@dataclass(frozen=True, slots=True)
class _Read:
    name: PointName
    manifest_hash: bytes
    statement: Statement
    root_object: bytes


class Adoption:
    """One repository's. `doomed`: what all condemn logs of the bucket name."""

    def __init__(
        self,
        database: Store,
        lease: LeaderLease,
        clock: Clock,
        repository: OpenRepository,
        repository_id: str,
        facts: Mapping[str, KnownPoint],
        doomed: Mapping[bytes, SlotSet],
    ) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock
        self._repository = repository
        self._repository_id = repository_id
        self._facts = facts
        self._doomed = doomed
        self._seen: dict[bytes, Pack] = {}
        self.adopted = Adopted()

    def run(self, names: Iterable[PointName], after_batch: Callable[[Adopted], None]) -> None:
        """`names` sorted by tenant and VM. Raises what the store and the database raise; what was adopted until then stays."""
        with store_readers("recover") as readers:
            for (_, vm_id), of_vm in groupby(names, key=lambda name: (name.tenant, name.vm_id)):
                self.adopted.vms.add(vm_id)
                for batch in in_batches(self._in_order(readers, list(of_vm)), AT_ONCE):
                    self._adopt(self._found(readers, batch))
                    after_batch(self.adopted)
                after_batch(self.adopted)

    def _in_order(self, readers: ThreadPoolExecutor, names: list[PointName]) -> Iterator[_Read]:
        """Those that the catalogue lacks: the newest of a VM is the parent of its next point, so they come as they were published."""
        unknown = self._database.read_now(
            lambda transaction: [name for name in names if transaction.points.point(name.point_id) is None]
        )
        self.adopted.known += len(names) - len(unknown)
        read = [each for each in readers.map(self._read, unknown) if each is not None]
        yield from sorted(read, key=lambda each: (each.statement.published_us, each.name.point_id))

    def _read(self, name: PointName) -> _Read | None:
        try:
            manifest, statement, root_object = self._repository.read_manifest_object(
                name.tenant, name.vm_id, name.point_id
            )
        except UNREADABLE as error:
            self._refuse(name, str(error))
            return None
        return _Read(name, blake3(manifest).digest(), statement, root_object)

    def _found(self, readers: ThreadPoolExecutor, batch: Iterable[_Read]) -> list[Found]:
        return [found for each in batch if (found := self._whole(readers, each)) is not None]

    def _whole(self, readers: ThreadPoolExecutor, read: _Read) -> Found | None:
        name, facts = read.name, self._facts.get(read.name.point_id)
        try:
            root, refmap = self._repository.open_root(read.root_object), self._repository.refmap_of(read.statement)
            slots = {pack_id: SlotSet.of(numbers) for pack_id, numbers in refmap.slots().items()}
            packs = self._packs(readers, name.tenant, slots)
        except UNREADABLE as error:
            self._refuse(name, str(error))
            return None
        for pack_id, named in slots.items():
            pack = packs[pack_id]
            if not pack.keeps(named) or len(named - SlotSet.first(pack.slots)):
                self._refuse(name, f"pack {pack_id.hex()} lost slots that it needs")
                return None
        if facts is None:
            self.adopted.without_facts += 1
            facts = KnownPoint(name.point_id)
        if facts.verified:
            self.adopted.verified += 1
        return Found(name, read.statement, read.manifest_hash, root, refmap, packs, facts.host_id)

    def _packs(self, readers: ThreadPoolExecutor, tenant: str, slots: Mapping[bytes, SlotSet]) -> dict[bytes, Pack]:
        """Of a pack that has a row, or gets one with this batch, what that says; else what lies in the bucket, less what only logs name.

        One that condemns what this point names is compared with the bucket once more.
        """
        stored = self._database.read_now(lambda transaction: transaction.packs.packs(self._repository_id, list(slots)))
        rows = {pack_id: self._seen[pack_id] for pack_id in slots if pack_id in self._seen} | dict(stored)
        unsure = [each for each in slots if each not in rows or not rows[each].keeps(slots[each])]
        read = readers.map(lambda each: self._stored(tenant, each, slots[each], rows.get(each)), unsure)
        self._seen |= dict(zip(unsure, read, strict=True))
        return rows | {pack_id: self._seen[pack_id] for pack_id in unsure}

    def _stored(self, tenant: str, pack_id: bytes, named: SlotSet, row: Pack | None) -> Pack:
        """Raises ObjectMissing, IntegrityError."""
        found = pack_as_stored(self._repository, self._repository_id, tenant, pack_id)
        if row is not None:
            return replace(row, condemned=(row.condemned - named) | found.condemned)
        doomed = self._doomed.get(pack_id, NO_SLOTS)
        every = SlotSet.first(found.slots)
        waiting = (every - (every - doomed)) - named - found.condemned
        condemned_us = self._clock.now_us() if waiting else 0  # they lie there still: collection drops them
        return replace(found, condemned=found.condemned | waiting, condemned_us=condemned_us)

    def _adopt(self, batch: list[Found]) -> None:
        leader = self._lease.current

        def closure(transaction: Transaction) -> list[bool]:
            transaction.leadership.check(leader)
            return [self._adopt_one(transaction, found) for found in batch]

        written = self._database.write_now(closure)
        self._seen.clear()
        for found, done in zip(batch, written, strict=True):
            if done:
                self.adopted.points += 1
            else:
                self._refuse(found.name, "the catalogue holds something else in its place")

    def _adopt_one(self, transaction: Transaction, found: Found) -> bool:
        host_id = host_or_nobody(transaction, found.host_id)
        vm = KnownVm(found.name.vm_id, printable(found.root.vm_name), host_id)
        transaction.known.add_vm(vm)
        found = replace(found, host_id=host_id)
        self._reconsider(transaction, found)
        if not adopt_point(transaction, self._lease.current, self._clock, self._repository_id, found):
            return False
        facts = self._facts.get(found.name.point_id)
        if facts is not None and facts.verified:
            self._vouch(transaction, found)
        return True

    def _reconsider(self, transaction: Transaction, found: Found) -> None:
        """Rows of before condemn nothing that this point names."""
        for pack in transaction.packs.packs(self._repository_id, list(found.packs)).values():
            seen = found.packs[pack.id]
            if pack.state is PackState.STORED and pack.condemned != seen.condemned:
                named = SlotSet.of(found.refmap.slots()[pack.id])
                transaction.packs.save_pack(pack, replace(pack, condemned=pack.condemned - named))

    def _vouch(self, transaction: Transaction, found: Found) -> None:
        """The controller of before read back all that this point needs: its packs may be named by every host at once."""
        now_us = self._clock.now_us()
        for pack in transaction.packs.packs(self._repository_id, list(found.packs)).values():
            if not pack.verified_us:
                transaction.packs.save_pack(pack, replace(pack, verified_us=now_us))
        transaction.points.mark_proved(found.name.point_id, now_us)

    def _refuse(self, name: PointName, why: str) -> None:
        self.adopted.refused[name.point_id] = why
        _log.error("point.not_adopted", point_id=name.point_id, vm_id=name.vm_id, error=why)
