"""Which READY run starts where, and what each other one waits for. Pure: facts in, plan out.

Order: class (restores, then what an operator asked for, then what a policy fired, then maintenance); within a class the tenant that holds
least for its weight; within a tenant the run that is latest for its objective. Nothing looks at a VM's size, so no large one starves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seawall.controller.admission.candidates import rank
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.fairness import Queue
from seawall.controller.admission.gates import BlockedOn, Gates
from seawall.controller.records.runs import Run

HOLD_AFTER_US = 15 * 60 * 1_000_000
"""A run that waits for so long on limits keeps its place in all of them: else one that needs two scarce things might never find both."""


@dataclass(frozen=True, slots=True)
class Placement:
    run: Run
    host_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`waiting`: run id -> what it waits for; with the placements each run exactly once."""

    placements: tuple[Placement, ...]
    waiting: Mapping[str, BlockedOn]


def plan(ready: Sequence[Run], facts: FleetFacts) -> Plan:
    """Deterministic: the same facts, whatever the order of the runs, give the same plan."""
    ranked, gates = rank(ready, facts), Gates(facts)
    runs = {run.id: run for run in ready}
    placements: list[Placement] = []
    waiting = ranked.unable
    long_ago_us = facts.now_us - HOLD_AFTER_US
    queue = Queue(ranked.able, facts.held_by_tenant, facts.caps)
    for candidate in queue:
        blocked = gates.admit(candidate, hold=candidate.restore or candidate.due_us <= long_ago_us)
        if blocked is None:
            placements.append(Placement(runs[candidate.run_id], candidate.host_id))
            queue.placed(candidate)
        else:
            waiting[candidate.run_id] = blocked
    return Plan(tuple(placements), waiting)


def why_waiting(run: Run, ready: Iterable[Run], facts: FleetFacts) -> BlockedOn | None:
    """What one run waits for now; None: it would start."""
    return plan(list(ready), facts).waiting.get(run.id)
