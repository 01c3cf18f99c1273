"""Counters against limits: whether a run may start now, and which limit keeps it. Pure but for its own counters.

One gate stands for one limit of one thing. A run passes all gates of its scopes or none. Things that nobody limits have no gate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from seawall.controller.admission.breaker import LONGEST_PAUSE_US, BreakerState, probe_us, state_of
from seawall.controller.admission.caps import reserved
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.scopes import GLOBAL, counted, scopes_of
from seawall.controller.records.limits import Breaker, Measure, Scope, ScopeKey
from seawall.repository.clock import datetime_of

if TYPE_CHECKING:
    from seawall.controller.admission.candidates import Candidate

OVERLAPS = "another run of this VM is active on its host"
NOT_OVER = "another backup of this VM into its repository is not over yet"


class BlockedOn(NamedTuple):
    """What a run waits for. `cap` 0: no limit, but what the sentence says. The sentence stays the same while the cause does."""

    scope: Scope
    key: str
    measure: Measure
    used: int
    cap: int
    sentence: str


@dataclass(slots=True)
class Gate:
    """`used` grows with each admission; `held` is the place that an earlier run which waits keeps. `fixed`: a sentence of its own."""

    where: ScopeKey
    measure: Measure
    name: str
    cap: int
    reserve: int = 0
    used: int = 0
    held: int = 0
    fixed: str = ""
    _told: tuple[int, bool, BlockedOn] | None = None

    def is_full(self, restore: bool) -> bool:
        return self.used + self.held + (0 if restore else self.reserve) >= self.cap

    def blocked(self, restore: bool) -> BlockedOn:
        """The same value for all who wait for it in one plan."""
        if self._told is None or self._told[:2] != (self.used, restore):
            limit = self.cap - (0 if restore else self.reserve)
            sentence = self.fixed or self._sentence(limit, restore)
            found = BlockedOn(self.where.scope, self.where.key, self.measure, self.used, limit, sentence)
            self._told = (self.used, restore, found)
        return self._told[2]

    def _sentence(self, limit: int, restore: bool) -> str:
        if self.used < limit:
            return f"the next slot of {self.name} is kept for a run that has waited longer"
        if self.measure is Measure.PREPARING:
            return f"{self.name} prepares {limit} at once, its limit"
        kept = "" if restore or not self.reserve else f" ({self.reserve} more kept for restores)"
        return f"all {limit} slots of {self.name} are taken{kept}"


class Gates:
    """All gates of one plan."""

    def __init__(self, facts: FleetFacts) -> None:
        self._facts = facts
        self._gates: dict[tuple[ScopeKey, Measure], Gate | None] = {}
        self._breakers: dict[tuple[ScopeKey, bool], Gate] = {}
        """By scope, and whether for restores."""
        self._ways: dict[tuple[object, ...], tuple[Gate, ...]] = {}
        self._busy = {(each.vm_id, each.host_id) for each in facts.live}
        self._stored = {(each.vm_id, each.repository_id) for each in facts.live if not each.restore} | facts.publishing
        self._busy_vms = {vm_id for vm_id, _ in self._busy | self._stored}
        self._used = counted(facts)
        self._whole = self._gate(GLOBAL, Measure.TRANSFERRING)

    def whole(self, restore: bool) -> BlockedOn | None:
        """That all slots of this controller are taken; None: they are not."""
        if self._whole is not None and self._whole.is_full(restore):
            return self._whole.blocked(restore)
        return None

    def admit(self, candidate: "Candidate", *, hold: bool) -> BlockedOn | None:
        """None: it is counted in. Else the first limit that is reached; `hold`: it keeps its place against all who come after it.

        Ask `whole` before."""
        restore = candidate.restore
        if candidate.vm_id in self._busy_vms and (found := self._overlaps(candidate)) is not None:
            return found
        way = self._way(candidate)
        for gate in way:
            if gate.is_full(restore):
                found = gate.blocked(restore)
                # What waits for a breaker may wait for days: places that it kept would stand empty.
                if hold and not gate.fixed:
                    _hold(way)
                return found
        for gate in way:
            gate.used += 1
        self._begins(candidate)
        return None

    def _overlaps(self, candidate: "Candidate") -> BlockedOn | None:
        """Runs of one VM on one host come one after the other, and so do its backups into one repository, wherever they run: each goes
        on from the point of the one before.
        """
        why = ""
        if (candidate.vm_id, candidate.host_id) in self._busy:
            why = OVERLAPS
        elif not candidate.restore and (candidate.vm_id, candidate.repository_id) in self._stored:
            why = NOT_OVER
        return BlockedOn(Scope.VM, candidate.vm_id, Measure.TRANSFERRING, 1, 1, why) if why else None

    def _begins(self, candidate: "Candidate") -> None:
        self._busy_vms.add(candidate.vm_id)
        self._busy.add((candidate.vm_id, candidate.host_id))
        if not candidate.restore:
            self._stored.add((candidate.vm_id, candidate.repository_id))

    def _way(self, candidate: "Candidate") -> tuple[Gate, ...]:
        """The gates that a run passes; runs that are alike share them."""
        vm = self._facts.vms.get(candidate.vm_id)
        alike = (
            candidate.host_id,
            candidate.tenant,
            candidate.repository_id,
            candidate.restore,
            None if vm is None else vm.storages,
            None if vm is None else vm.labels,
        )
        found = self._ways.get(alike)
        if found is None:
            found = self._ways[alike] = tuple(gate for gate in self._made_way(candidate) if gate is not None)
        return found

    def _made_way(self, candidate: "Candidate") -> Iterator[Gate | None]:
        restore = candidate.restore
        for where in scopes_of(
            self._facts,
            host_id=candidate.host_id,
            tenant=candidate.tenant,
            repository_id=candidate.repository_id,
            vm_id=candidate.vm_id,
            restore=restore,
        ):
            if self._facts.breakers:
                yield self._breaker(where, restore)
            yield self._gate(where, Measure.TRANSFERRING)
            if not restore:
                yield self._gate(where, Measure.PREPARING)

    def _gate(self, where: ScopeKey, measure: Measure) -> Gate | None:
        if not self._facts.caps.bounds(where.scope, measure):
            return None
        known = (where, measure)
        if known not in self._gates:
            cap = self._facts.caps.value(where, measure)
            self._gates[known] = None if cap is None else self._made(where, measure, cap)
        return self._gates[known]

    def _made(self, where: ScopeKey, measure: Measure, cap: int) -> Gate:
        reserve = reserved(where.scope, cap) if measure is Measure.TRANSFERRING else 0
        return Gate(where, measure, name_of(self._facts, where), cap, reserve, self._used.get((where, measure), 0))

    def _breaker(self, where: ScopeKey, restore: bool) -> Gate | None:
        """Restores wait for a store that is away, not for a host that fails at backups: they fail for other reasons, and somebody waits."""
        breaker = self._facts.breakers.get(where)
        if breaker is None or (restore and where.scope is Scope.HOST):
            return None
        state = state_of(breaker, self._facts.now_us)
        if state is BreakerState.CLOSED:
            return None
        if (where, restore) not in self._breakers:
            name = name_of(self._facts, where)
            sentence = breaker_sentence(name, breaker, state)
            # Half-open: one backup, and one restore, as somebody waits for that; and a full store is read all the same.
            cap, probes = int(state is BreakerState.HALF_OPEN), _probes(self._facts, breaker, restore)
            gate = Gate(where, Measure.TRANSFERRING, name, cap, used=probes, fixed=sentence)
            self._breakers[where, restore] = gate
        return self._breakers[where, restore]


def _probes(facts: FleetFacts, breaker: Breaker, restores: bool) -> int:
    """Backups or restores begun since the last failure. One that neither failed nor showed anything in the longest pause there is keeps
    nobody from trying: it may read a large disk of which nothing is new for hours, and had it failed at once, the next would try by now."""
    failed_us = breaker.last_us if breaker.last_us <= facts.now_us else 0  # else: the clock was ahead
    since_us = max(failed_us, facts.now_us - LONGEST_PAUSE_US)
    alike = (each for each in facts.live if each.restore is restores)
    return sum(each.created_us > since_us and breaker.key in (each.host_id, each.repository_id) for each in alike)


def breaker_sentence(name: str, breaker: Breaker, state: BreakerState) -> str:
    """The same until the next attempt has failed too."""
    when = (
        f"the next one is tried at {datetime_of(probe_us(breaker)):%H:%M:%S} UTC"
        if state is BreakerState.OPEN
        else "one attempt is trying"
    )
    return f"{breaker.failures} attempts on {name} failed in a row ({breaker.reason}: {breaker.message}); {when}"


def name_of(facts: FleetFacts, where: ScopeKey) -> str:
    """As an operator knows it."""
    match where.scope:
        case Scope.GLOBAL:
            return "this controller"
        case Scope.LABEL:
            return f"group {where.key}"
        case _:
            return f"{where.scope.lower()} {plain_name(facts, where)}"


def plain_name(facts: FleetFacts, where: ScopeKey) -> str:
    """Names instead of ids; of a storage, its host's."""
    match where.scope:
        case Scope.HOST:
            host = facts.hosts.get(where.key)
            return host.name if host is not None else where.key
        case Scope.REPOSITORY:
            return facts.repositories.get(where.key, where.key)
        case Scope.STORAGE:
            host_id, colon, rest = where.key.partition(":")
            host = facts.hosts.get(host_id)
            return f"{host.name}{colon}{rest}" if host is not None else where.key
        case _:
            return where.key


def _hold(way: tuple[Gate, ...]) -> None:
    """One place a gate is held at most: the next run that waits finds room everywhere once its own limit has, and no more stands idle."""
    for gate in way:
        gate.held = 1
