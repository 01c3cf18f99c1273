"""The collection's ledger over the controller's database: each fenced step is one transaction here. Blocking, for worker threads.

The worker reaches it through its pipe (`ledger_calls`); tests use it directly.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from seawall.controller.maintenance.job_ledger import JobLedger, LedgerScope, told
from seawall.controller.records.catalogue import Pack, PackState, Point, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import JobState
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.collecting.port import (
    Arrivals,
    Condemned,
    Doomed,
    LedgerRefused,
    Mark,
    PackFacts,
    PackStanding,
    PointRoot,
    RootState,
    Slice,
)
from seawall.repository.format.slot_set import SlotSet

T = TypeVar("T")

PAGE = 500
ALL = 1_000_000_000


class IndexEffects(Protocol):
    """What the chunk index must learn, after the transaction that decided it."""

    def withdraw(self, pack_id: bytes, slots: SlotSet) -> None: ...

    def forget_pack(self, pack_id: bytes) -> None: ...

    def replace_generation(self, pack: Pack) -> None: ...


class StoreLedger(JobLedger):
    """A `Ledger`."""

    def __init__(
        self, store: Store, scope: LedgerScope, leader: Callable[[], Leader], clock: Clock, index: IndexEffects
    ) -> None:
        super().__init__(store, scope, leader)
        self._clock = clock
        self._index = index

    def begin(self) -> Mark:
        with told():
            self._leader()
            seq = self._read(lambda transaction: transaction.leadership.publications(self._scope.repository_id))
            return Mark(seq, self._scope.announced)

    def roots(self) -> Iterator[PointRoot]:
        after = ""
        while page := self.roots_page(after):
            yield from page
            after = page[-1].point_id

    def roots_page(self, after: str) -> list[PointRoot]:
        """By id, at most PAGE."""
        mine = self._scope.repository_id
        return self._read(
            lambda transaction: _roots(transaction, transaction.points.roots(mine, after=after, limit=PAGE))
        )

    def roots_named(self, point_ids: Sequence[str]) -> dict[str, PointRoot]:
        def closure(transaction: Transaction) -> dict[str, PointRoot]:
            found = (transaction.points.point(point_id) for point_id in point_ids)
            mine = [point for point in found if point is not None and self._is_root(point)]
            return {root.point_id: root for root in _roots(transaction, mine)}

        return self._read(closure)

    def packs(self, after: bytes = b"") -> Iterator[PackFacts]:
        while page := self.packs_page(after):
            yield from page
            after = page[-1].pack_id

    def packs_page(self, after: bytes) -> list[PackFacts]:
        """By id, at most PAGE."""
        mine = self._scope.repository_id
        return self._read(lambda transaction: self._facts(transaction, transaction.packs.pack_page(mine, after, PAGE)))

    def facts(self, pack_ids: Sequence[bytes]) -> dict[bytes, PackFacts]:
        def closure(transaction: Transaction) -> dict[bytes, PackFacts]:
            packs = transaction.packs.packs(self._scope.repository_id, pack_ids)
            return {pack.pack_id: pack for pack in self._facts(transaction, packs.values())}

        return self._read(closure)

    def spent_attempts(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        def closure(transaction: Transaction) -> frozenset[str]:
            attempts = {attempt_id: transaction.runs.attempt(attempt_id) for attempt_id in attempt_ids}
            return frozenset(known for known, attempt in attempts.items() if attempt is None or not attempt.state.live)

        return self._read(closure)

    def condemn(self, slice_: Slice, seen: int) -> Condemned | Arrivals:
        mine, ids = self._scope.repository_id, list(slice_.slots)

        def closure(transaction: Transaction) -> Condemned | Arrivals:
            seq = self._ordered(transaction)
            arrived = transaction.points.roots(mine, limit=ALL, since_seq=seen)
            if arrived:
                return Arrivals(seq, tuple(_roots(transaction, arrived)))
            busy = transaction.packs.in_use(mine, ids, self._grace_began())
            accepted = {}
            for pack_id, pack in transaction.packs.packs(mine, ids).items():
                if pack.state is PackState.STORED and pack_id not in busy:
                    fresh = slice_.slots[pack_id] - pack.condemned
                    if fresh:
                        both = pack.condemned | fresh
                        transaction.packs.save_pack(pack, replace(pack, condemned=both, condemned_us=self._now()))
                        accepted[pack_id] = fresh
            return Condemned(seq, accepted)

        answer = self._write(closure)
        if isinstance(answer, Condemned):
            for pack_id, slots in answer.accepted.items():
                self._index.withdraw(pack_id, slots)
        return answer

    def void(self, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        mine = self._scope.repository_id

        def closure(transaction: Transaction) -> frozenset[bytes]:
            self._ordered(transaction)
            known = transaction.packs.packs(mine, pack_ids)
            busy = transaction.packs.in_use(mine, list(known), self._grace_began())
            unknown = [pack_id for pack_id in pack_ids if pack_id not in known]
            transaction.packs.void_unknown(mine, unknown)
            for pack in known.values():
                if pack.state is PackState.OPEN and pack.id not in busy:
                    transaction.packs.void(mine, pack.id)
            again = transaction.packs.packs(mine, pack_ids)
            return frozenset(unknown) | {pack.id for pack in again.values() if pack.state is PackState.VOID}

        return self._write(closure)

    def number(self) -> int:
        return self._write(self._ordered)

    def doom(self, pack_ids: Sequence[bytes]) -> Doomed:
        def closure(transaction: Transaction) -> Doomed:
            seq = self._ordered(transaction)
            packs = transaction.packs.packs(self._scope.repository_id, pack_ids)
            facts = self._facts(transaction, packs.values())
            return Doomed(seq, tuple(pack for pack in facts if pack.standing is PackStanding.STORED and pack.ripe))

        return self._write(closure)

    def reserve_generation(self, pack_id: bytes, above: int) -> int:
        def closure(transaction: Transaction) -> int:
            transaction.leadership.check(self._leader())
            pack = self._pack(transaction, pack_id)
            first, after = pack.reserve(above)
            transaction.packs.save_pack(pack, after)
            return first

        return self._write(closure)

    def compacted(self, pack_id: bytes, generation: int, size_bytes: int, generation_hash: bytes) -> None:
        def closure(transaction: Transaction) -> Pack:
            transaction.leadership.check(self._leader())
            before = self._pack(transaction, pack_id)
            after = before.at_generation(generation, size_bytes, generation_hash)
            transaction.packs.save_pack(before, after)
            return after

        self._index.replace_generation(self._write(closure))

    def deleted(self, pack_ids: Sequence[bytes]) -> None:
        def closure(transaction: Transaction) -> list[bytes]:
            transaction.leadership.check(self._leader())
            gone = []
            for pack in transaction.packs.packs(self._scope.repository_id, pack_ids).values():
                if pack.state is PackState.STORED and len(pack.condemned) >= pack.slots:
                    transaction.packs.save_pack(pack, replace(pack, state=PackState.DELETED, condemned_us=0))
                    gone.append(pack.id)
            return gone

        for pack_id in self._write(closure):
            self._index.forget_pack(pack_id)

    def report(self, **counts: int | str) -> None:
        def closure(transaction: Transaction) -> None:
            job = transaction.jobs.job(self._scope.job_id)
            if job is not None and job.state is JobState.ACTIVE:
                known = json.loads(job.progress) if job.progress else {}
                transaction.jobs.save_job(job, replace(job, progress=json.dumps(known | counts)))

        self._write(closure)

    def _facts(self, transaction: Transaction, packs: Iterable[Pack]) -> list[PackFacts]:
        every = list(packs)
        began = self._grace_began()
        used = transaction.packs.in_use(self._scope.repository_id, [pack.id for pack in every], began)
        return [_facts_of(pack, pack.id in used, began) for pack in every]

    def _is_root(self, point: Point) -> bool:
        return point.repository_id == self._scope.repository_id and point.state.value in RootState.__members__

    def _pack(self, transaction: Transaction, pack_id: bytes) -> Pack:
        pack = transaction.packs.packs(self._scope.repository_id, [pack_id]).get(pack_id)
        if pack is None or pack.state is not PackState.STORED:
            raise LedgerRefused("PACK_GONE", f"Pack {pack_id.hex()} is not stored any more.")
        return pack

    def _ordered(self, transaction: Transaction) -> int:
        return transaction.leadership.order_publication(self._leader(), self._scope.repository_id)

    def _now(self) -> int:
        return self._clock.now_us()

    def _grace_began(self) -> int:
        return self._now() - self._scope.grace_us


def _facts_of(pack: Pack, in_use: bool, grace_began_us: int) -> PackFacts:
    return PackFacts(
        pack.id,
        pack.tenant,
        PackStanding(pack.state.value),
        pack.meta,
        pack.size_bytes,
        pack.slots,
        pack.generation,
        pack.condemned,
        in_use=in_use,
        waiting=pack.condemned_us > 0,
        ripe=0 < pack.condemned_us <= grace_began_us,
        generation_hash=pack.present_hash,
    )


def _roots(transaction: Transaction, points: Iterable[Point]) -> list[PointRoot]:
    return [_root(transaction, point) for point in points]


def _root(transaction: Transaction, point: Point) -> PointRoot:
    attempt = transaction.runs.attempt(point.attempt_id) if point.state is PointState.PUBLISHING else None
    refmap_hash = attempt.refmap_hash if attempt is not None else b""
    state = RootState(point.state.value)
    return PointRoot(point.tenant, point.vm_id, point.id, state, point.seq, point.attempt_id, refmap_hash)
