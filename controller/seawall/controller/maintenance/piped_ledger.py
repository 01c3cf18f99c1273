"""The ledger as the worker has it: every question goes through the pipe."""

from collections.abc import Iterator, Sequence

from seawall.controller.maintenance.ledger_wire import (
    from_ids,
    from_slots,
    to_answer,
    to_doomed,
    to_ids,
    to_pack,
    to_root,
)
from seawall.controller.maintenance.link import Link
from seawall.repository.clock import Clock
from seawall.repository.collecting.port import Arrivals, Condemned, Doomed, Mark, PackFacts, PointRoot, Slice
from seawall.repository.forgetting.leaders import LeaderMark

REPORT_SECONDS = 1.0


class PipedLedger:
    """A `Ledger`. Thread-safe but for `report`, which is one thread's."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._counts: dict[str, int | str] = {}
        self._reported = float("-inf")

    def begin(self) -> Mark:
        answer = self._link.ask("begin")
        return Mark(answer["seq"], LeaderMark(answer["epoch"], answer["holder"]))

    def roots(self) -> Iterator[PointRoot]:
        after = ""
        while page := [to_root(each) for each in self._link.ask("roots", after=after)]:
            yield from page
            after = page[-1].point_id

    def roots_named(self, point_ids: Sequence[str]) -> dict[str, PointRoot]:
        roots = [to_root(each) for each in self._link.ask("roots_named", ids=list(point_ids))]
        return {root.point_id: root for root in roots}

    def packs(self, after: bytes = b"") -> Iterator[PackFacts]:
        while page := [to_pack(each) for each in self._link.ask("packs", after=after.hex())]:
            yield from page
            after = page[-1].pack_id

    def facts(self, pack_ids: Sequence[bytes]) -> dict[bytes, PackFacts]:
        packs = [to_pack(each) for each in self._link.ask("facts", ids=from_ids(pack_ids))]
        return {pack.pack_id: pack for pack in packs}

    def spent_attempts(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(self._link.ask("spent_attempts", ids=list(attempt_ids)))

    def condemn(self, slice_: Slice, seen: int) -> Condemned | Arrivals:
        return to_answer(self._link.ask("condemn", slots=from_slots(slice_.slots), seen=seen))

    def void(self, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        return frozenset(to_ids(self._link.ask("void", ids=from_ids(pack_ids))))

    def number(self) -> int:
        return int(self._link.ask("number"))

    def doom(self, pack_ids: Sequence[bytes]) -> Doomed:
        return to_doomed(self._link.ask("doom", ids=from_ids(pack_ids)))

    def reserve_generation(self, pack_id: bytes, above: int) -> int:
        return int(self._link.ask("reserve_generation", id=pack_id.hex(), above=above))

    def compacted(self, pack_id: bytes, generation: int, size_bytes: int, generation_hash: bytes) -> None:
        proof = generation_hash.hex()
        self._link.ask("compacted", id=pack_id.hex(), generation=generation, size_bytes=size_bytes, hash=proof)

    def deleted(self, pack_ids: Sequence[bytes]) -> None:
        self._link.ask("deleted", ids=from_ids(pack_ids))

    def may_continue(self) -> None:
        self._link.ask("may_continue")

    def report(self, **counts: int | str) -> None:
        """Sent at most once a second."""
        self._counts |= counts
        now = self._clock.monotonic_seconds()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._link.ask("report", **self._counts)
