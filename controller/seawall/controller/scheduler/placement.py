"""Which READY run starts where, and what each other one waits for. Pure: facts in, plan out.

Order: class (restores, then what an operator asked for, then what a policy fired); within a class the tenant that holds least for its
weight; within a tenant the run that is latest for its objective. Nothing looks at a VM's size, so no large one starves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from seawall.controller.admission.candidates import AdmissionClass, Candidate, unable, unreachable_host
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.fairness import Queue
from seawall.controller.admission.gates import BlockedOn, Gates
from seawall.controller.admission.lines import Lines, lines_of
from seawall.controller.records.runs import Run

HOLD_AFTER_US = 15 * 60 * 1_000_000
"""A run that waits for so long on limits keeps its place in all of them: else one that needs two scarce things might never find both."""

Able = Mapping[AdmissionClass, Mapping[str, Sequence[Sequence[Candidate]]]]
"""Class -> tenant -> its lines."""


@dataclass(frozen=True, slots=True)
class Placement:
    run: Run
    host_id: str


class Rest(NamedTuple):
    """All of these lines that the plan neither placed nor told apart wait for one thing."""

    lines: Sequence[Sequence[Candidate]]
    why: BlockedOn


@dataclass(frozen=True, slots=True)
class Plan:
    """Each run exactly once: placed, told apart what it waits for, or one of the rest."""

    placements: tuple[Placement, ...]
    told: Sequence[tuple[Candidate, BlockedOn]]
    rest: Sequence[Rest] = ()

    @property
    def waiting(self) -> dict[str, BlockedOn]:
        """Run id -> what it waits for. Made anew at each call."""
        settled = self._settled()
        left = {each.run_id: some.why for some in self.rest for each in _all_of(some) if each.run_id not in settled}
        return {each.run_id: why for each, why in self.told} | left

    def untold(self) -> dict[str, BlockedOn]:
        """Of those that wait, whom nobody told why, or another reason, in the order in which they were tried. Ten thousand know already: it
        looks at nothing but what each knows."""
        news = {each.run_id: why for each, why in self.told if each.run.blocked_on != why.sentence}
        for some in self.rest:
            sentence = some.why.sentence
            others = [each.run_id for each in _all_of(some) if each.run.blocked_on != sentence]
            if others:
                settled = self._settled()
                news |= {run_id: some.why for run_id in others if run_id not in settled}
        return news

    def _settled(self) -> set[str]:
        return {placement.run.id for placement in self.placements} | {each.run_id for each, _ in self.told}


def _all_of(some: Rest) -> Iterator[Candidate]:
    return chain.from_iterable(some.lines)


def plan(ready: Iterable[Run], facts: FleetFacts) -> Plan:
    """Deterministic: the same facts, whatever the order of the runs, give the same plan."""
    return plan_lines(lines_of(ready, facts), facts)


def plan_lines(lines: Lines, facts: FleetFacts) -> Plan:
    """The same, of runs that stand in line already: as `lines_of` these facts would put them."""
    able, told = _sorted_out(lines, facts)
    rest: list[Rest] = []
    gates, backups, restores = Gates(facts), dict(facts.held_by_tenant), dict(facts.restored_by_tenant)
    placements: list[Placement] = []
    long_ago_us = facts.now_us - HOLD_AFTER_US
    for admission in sorted(able):
        held = restores if admission is AdmissionClass.RESTORE else backups
        queue = Queue(able[admission], held, facts.caps, facts.now_us)
        for candidate in queue:
            full = gates.whole(candidate.restore)
            if full is not None:
                # Nobody after it passes either, as restores come first: nothing else need be looked at.
                rest.append(Rest([line for lines_of_one in able[admission].values() for line in lines_of_one], full))
                break
            blocked = gates.admit(candidate, hold=candidate.restore or candidate.due_us <= long_ago_us)
            if blocked is None:
                placements.append(Placement(candidate.run, candidate.host_id))
                queue.placed(candidate)
            else:
                told.append((candidate, blocked))
    return Plan(tuple(placements), told, rest)


def why_waiting(run: Run, lines: Lines, facts: FleetFacts) -> BlockedOn | None:
    """What one run waits for now; None: it would start."""
    return plan_lines(lines, facts).waiting.get(run.id)


def _sorted_out(lines: Lines, facts: FleetFacts) -> tuple[Able, list[tuple[Candidate, BlockedOn]]]:
    """Those that could run, and why the others could not, whatever is free."""
    unreachable = {host_id: why for host_id in facts.hosts if (why := unreachable_host(facts, host_id)) is not None}
    reachable = facts.hosts.keys() - unreachable.keys()
    able: dict[AdmissionClass, dict[str, list[Sequence[Candidate]]]] = {}
    told: list[tuple[Candidate, BlockedOn]] = []
    for key, line in sorted(lines.of.items()):
        fit = [each for each in line if each.present and each.host_id in reachable]
        if fit:
            able.setdefault(key.admission, {}).setdefault(key.tenant, []).append(fit)
        if len(fit) < len(line):
            others = (each for each in line if not (each.present and each.host_id in reachable))
            told += [(each, unable(each, facts, unreachable)) for each in others]
    return able, told
