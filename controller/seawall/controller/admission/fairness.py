"""The order in which candidates of one class are tried: tenants by what they hold, then lateness. Pure.

Deficit round robin with slots as the coin: a tenant's debt is the slots that it holds, over its weight; whoever owes least is served next
and owes one more. The debts are facts (live attempts), so a restart or another leader goes on where the last one was. Restores have debts
of their own, as they go before all else: who backs up a lot does not wait longer for his data, nor who restores a lot for his backups.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from seawall.controller.admission.candidates import Candidate
from seawall.controller.admission.caps import Caps


class Queue:
    """Iterate over it; tell it what was placed, before the next step. `held` grows with what is placed."""

    def __init__(
        self, able: Mapping[str, Sequence[Sequence[Candidate]]], held: dict[str, int], caps: Caps, now_us: int
    ) -> None:
        """`able`: tenant -> its lines, each sorted. `held`: tenant -> what it holds of the kind that stands in line."""
        self._able = able
        self._held = held
        self._caps = caps
        self._now_us = now_us
        self._placed = False

    def placed(self, candidate: Candidate) -> None:
        self._placed = True
        self._held[candidate.tenant] = self._held.get(candidate.tenant, 0) + 1

    def __iter__(self) -> Iterator[Candidate]:
        """Of tenants that owe alike, the one whose first candidate is the most urgent begins."""
        turns = [
            (self._debt(tenant), min(line[0].urgency(self._now_us) for line in lines), tenant, self._merged(lines))
            for tenant, lines in self._able.items()
        ]
        heapq.heapify(turns)
        while turns:
            _, first, tenant, rest = heapq.heappop(turns)
            self._placed = False
            for candidate in rest:
                yield candidate
                if self._placed:
                    heapq.heappush(turns, (self._debt(tenant), first, tenant, rest))
                    break

    def _merged(self, lines: Sequence[Sequence[Candidate]]) -> Iterator[Candidate]:
        if len(lines) == 1:
            return iter(lines[0])
        return heapq.merge(*lines, key=lambda candidate: candidate.urgency(self._now_us))

    def _debt(self, tenant: str) -> float:
        return self._held.get(tenant, 0) / self._caps.weight(tenant)
