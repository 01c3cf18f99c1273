"""The order in which candidates are tried: classes, then tenants by what they hold, then lateness. Pure.

Deficit round robin with slots as the coin: a tenant's debt is the slots that it holds, over its weight; whoever owes least is served next
and owes one more. The debts are facts (live attempts), so a restart or another leader goes on where the last one was.
"""

import heapq
from collections.abc import Iterator, Mapping

from seawall.controller.admission.candidates import AdmissionClass, Candidate
from seawall.controller.admission.caps import Caps


class Queue:
    """Iterate over it; tell it what was placed, before the next step."""

    def __init__(
        self, able: Mapping[AdmissionClass, Mapping[str, list[Candidate]]], held: Mapping[str, int], caps: Caps
    ) -> None:
        self._able = able
        self._held = dict(held)
        self._caps = caps
        self._placed = False

    def placed(self, candidate: Candidate) -> None:
        self._placed = True
        if not candidate.restore:
            self._held[candidate.tenant] = self._held.get(candidate.tenant, 0) + 1

    def __iter__(self) -> Iterator[Candidate]:
        for admission in sorted(self._able):
            yield from self._of_class(self._able[admission])

    def _of_class(self, tenants: Mapping[str, list[Candidate]]) -> Iterator[Candidate]:
        """Of tenants that owe alike, the one whose first candidate is the most urgent begins."""
        queues = {tenant: sorted(found) for tenant, found in tenants.items()}
        turns = [(self._debt(tenant), found[0], tenant, iter(found)) for tenant, found in queues.items()]
        heapq.heapify(turns)
        while turns:
            _, first, tenant, rest = heapq.heappop(turns)
            self._placed = False
            for candidate in rest:
                yield candidate
                if self._placed:
                    heapq.heappush(turns, (self._debt(tenant), first, tenant, rest))
                    break

    def _debt(self, tenant: str) -> float:
        return self._held.get(tenant, 0) / self._caps.weight(tenant)
