"""Turns due policies into runs. Part of the leader; every transaction is guarded by its lease, and every step may be repeated.

What is due comes from the wall clock, as people mean it; what is done about it is decided in `policies/decision.py`. A policy's
`fired_us` is raised once all of its VMs were looked at, so a crash in between repeats the rest; the unique (policy, VM, nominal time) of
runs makes that harmless. Several nominal times since then become one, the last.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from seawall.controller.policies.compiled import Compiled, share_of
from seawall.controller.policies.decision import Decision, Standing, What, fire
from seawall.controller.policies.protection import captured, seen_of
from seawall.controller.policies.selection import Seen
from seawall.controller.policies.tenancy import tenant_of_firing
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import DueFiring, Policy
from seawall.controller.records.runs import Failure, FailureKind, Run, RunKind, RunState
from seawall.controller.records.settings import NO_SETTINGS, NOTHING_SAID, VmSettings
from seawall.controller.runs.making import due_at, ready_run
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.closing import Closing
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.setbacks import Setbacks
from seawall.controller.settings.resolve import resolve
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock, datetime_of, microseconds_of

SLICE = 200
"""VMs a transaction: others get their turn in between."""
_NO_SPREAD = timedelta()

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Due:
    """A policy with the nominal time that is due and the VMs that it is due for."""

    compiled: Compiled
    nominal: datetime
    vm_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Next:
    """When a policy is due next, as it was seen at a time. A clock that was set back since knows better."""

    policy: Policy
    seen: datetime
    due: datetime | None

    def holds(self, policy: Policy, now: datetime) -> bool:
        return self.policy == policy and self.seen <= now and (self.due is None or now < self.due)


class Firing:
    """`run_once` may be called at any time, also twice. `wall`: what people's clocks show; it may jump."""

    def __init__(
        self,
        executions: Executions,
        lease: LeaderLease,
        wall: Clock,
        clock: SteadyClock,
        timings: Timings,
        closing: Closing,
        is_open: Callable[[str], bool] = lambda repository_id: True,
    ) -> None:
        """`closing`: settles what a policy's windows closed on before the policy is fired, so that a run that they end is in nobody's way.

        `is_open`: whether this leader opened a repository. What was due before it led may be done already: where the database was put back,
        the points that say so are known to the bucket alone until then.
        """
        self._executions = executions
        self._lease = lease
        self._wall = wall
        self._clock = clock
        self._timings = timings
        self._is_open = is_open
        self._began_us = wall.now_us()
        self._compiled: dict[str, Compiled] = {}
        self._next: dict[str, _Next] = {}
        self._held_back: set[tuple[str, int]] = set()
        """(policy, nominal time) that were told of."""
        self._closing = closing
        self._setbacks = Setbacks(clock, timings.scheduler_interval_seconds)
        self._seen: Sequence[Seen] | None = None
        """Of the present look alone: all policies that are due in it are fired by one reading of the inventories."""

    async def run_once(self) -> None:
        """Raises Unavailable/NOT_LEADER."""
        now = datetime_of(self._wall.now_us())
        policies = await self._executions.store.read(lambda transaction: transaction.policies.policies())
        active = [policy for policy in policies if policy.active]
        self._next = {policy.id: self._next[policy.id] for policy in active if policy.id in self._next}
        self._seen = None
        for policy in active:
            key = (policy.id, policy.revision)
            if not self._setbacks.waits(key):
                # What was checked when it was applied, with the zones of then, say: the other policies go on.
                with self._setbacks.of(key, "policy.not_fired", policy=policy.name, revision=policy.revision):
                    await self._look(self._of(policy), now)
        self._seen = None
        await self._waiting(now)

    def next_due(self) -> datetime | None:
        """The earliest nominal time to come that the last `run_once` saw."""
        return min((each.due for each in self._next.values() if each.due is not None), default=None)

    def _of(self, policy: Policy) -> Compiled:
        known = self._compiled.get(policy.id)
        if known is None or known.policy.spec != policy.spec:
            known = Compiled.of(policy)
        self._compiled[policy.id] = known = replace(known, policy=policy)
        return known

    async def _look(self, compiled: Compiled, now: datetime) -> None:
        policy = compiled.policy
        known = self._next.get(policy.id)
        if known is not None and known.holds(policy, now):
            return
        fired = datetime_of(policy.fired_us)
        # The clock was set back: what was fired in the future is due again when it comes, for whoever had no run of it.
        if fired > now:
            await self._mark(policy, compiled.rules.calendar.latest(now, now - timedelta(days=366)) or now)
            return
        nominal = compiled.rules.calendar.latest(now, fired)
        if nominal is not None:
            if not self._waits_for_opening(compiled, nominal, now):
                await self._fire(compiled, nominal, now)
            return
        self._next[policy.id] = _Next(policy, now, compiled.rules.calendar.after(now))

    def _waits_for_opening(self, compiled: Compiled, nominal: datetime, now: datetime) -> bool:
        """Until it is too late for it anyway: then it is written down as missed, where nothing says that it is done."""
        policy, nominal_us = compiled.policy, microseconds_of(nominal)
        if (
            nominal_us > self._began_us
            or now - nominal > compiled.rules.catch_up
            or self._is_open(policy.repository_id)
        ):
            return False
        if (policy.id, nominal_us) not in self._held_back:
            self._held_back.add((policy.id, nominal_us))
            _log.warning(
                "policy.held_back", policy=policy.name, nominal=nominal.isoformat(), repository_id=policy.repository_id
            )
        return True

    async def _fire(self, compiled: Compiled, nominal: datetime, now: datetime) -> None:
        await self._closing.close(compiled, now)
        spread = compiled.rules.spread_from(nominal)
        if self._seen is None:
            self._seen = await self._executions.store.read(seen_of)
        ids, count = await asyncio.to_thread(_in_turn, compiled, self._seen), 0
        for some in in_batches(ids, SLICE):
            due = await self._executions.store.read(partial(_with_disks, compiled=compiled, vm_ids=some))
            await self._slice(_Due(compiled, nominal, due), now, spread)
            count += len(due)
        await self._mark(compiled.policy, nominal)
        _log.info("policy.fired", policy=compiled.policy.name, nominal=nominal.isoformat(), vms=count)

    async def _mark(self, policy: Policy, nominal: datetime) -> None:
        leader, fired_us = self._lease.current, microseconds_of(nominal)

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            if _unchanged(change.transaction, policy):
                change.transaction.policies.mark_fired(policy.id, fired_us)

        await self._executions.change(closure, schedule=False)

    async def _waiting(self, now: datetime) -> None:
        """Those that had to wait for another run."""
        due = await self._executions.store.read(lambda transaction: transaction.policies.due())
        groups: dict[tuple[str, int], list[str]] = {}
        for each in due:
            groups.setdefault((each.policy_id, each.nominal_us), []).append(each.vm_id)
        for (policy_id, nominal_us), vm_ids in groups.items():
            compiled = self._compiled.get(policy_id)
            key = (policy_id, nominal_us)
            if compiled is not None and not self._setbacks.waits(key):
                with self._setbacks.of(key, "policy.not_carried_on", policy=compiled.policy.name):
                    nominal = datetime_of(nominal_us)
                    if not self._waits_for_opening(compiled, nominal, now):
                        await self._carry_on(_Due(compiled, nominal, tuple(vm_ids)), now)

    async def _carry_on(self, due: _Due, now: datetime) -> None:
        standings = await self._executions.store.read(lambda transaction: _standings(transaction, due))
        decisions = fire(due.compiled, due.nominal, standings, now, spread=_NO_SPREAD)
        moving = [decision.vm_id for decision in decisions if decision.what is not What.WAIT]
        for some in in_batches(moving, SLICE):
            await self._slice(replace(due, vm_ids=tuple(some)), now, _NO_SPREAD)

    async def _slice(self, due: _Due, now: datetime, spread: timedelta) -> None:
        leader = self._lease.current

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            if not _unchanged(change.transaction, due.compiled.policy):
                return  # the next look fires it as it is now
            standings = _standings(change.transaction, due)
            decisions = fire(due.compiled, due.nominal, standings, now, spread=spread)
            self._apply(change.transaction, due, decisions, now)

        await self._executions.change(closure)

    def _apply(self, transaction: Transaction, due: _Due, decisions: Sequence[Decision], now: datetime) -> None:
        policy = due.compiled.policy
        decided = {decision.vm_id: decision for decision in decisions if decision.what is not What.WAIT}
        for decision in decisions:
            if decision.what is What.WAIT:
                transaction.policies.put_due(DueFiring(policy.id, decision.vm_id, microseconds_of(due.nominal)))
        transaction.policies.drop_due_of(policy.id, list(decided))
        begun = [vm_id for vm_id, decision in decided.items() if decision.what is not What.NOTHING]
        settings = transaction.settings.of_vms(begun)
        runs = [
            self._run(due, vm, settings.get(vm.id, NO_SETTINGS), decided[vm.id], now)
            for vm in transaction.fleet.vms_of(begun)
        ]
        transaction.runs.add_runs(runs)

    def _run(self, due: _Due, vm: Vm, settings: VmSettings, decision: Decision, now: datetime) -> Run:
        policy = due.compiled.policy
        ids = (vm.id, vm.name, tenant_of_firing(settings, policy.spec), policy.repository_id)
        made = ready_run(RunKind.BACKUP, *ids, clock=self._clock, timings=self._timings)
        spec = resolve(NOTHING_SAID, settings.capture, policy.spec.capture, policy.name)
        run = replace(made, point_id=made.id, backup=spec, policy_id=policy.id, nominal_us=microseconds_of(due.nominal))
        if decision.start is None:
            return _ended(run, decision)
        if decision.start > now:
            start_us = run.created_us + microseconds_of(decision.start) - microseconds_of(now)
            return due_at(run, start_us, _waits_until(due.compiled, decision.start), self._timings)
        return run


def _in_turn(compiled: Compiled, seen: Sequence[Seen]) -> list[str]:
    """Ids of the VMs that the policy protects, as the spread lets them start: whoever is first must not wait until all have a run."""
    ids = (vm.vm_id for vm in compiled.rules.selected(seen))
    return sorted(ids, key=lambda vm_id: share_of(compiled.policy.id, vm_id))


def _with_disks(transaction: Transaction, compiled: Compiled, vm_ids: Sequence[str]) -> tuple[str, ...]:
    """Those that have anything to back up, in this order. The others are listed as unprotected, with the reason."""
    settings, spec = transaction.settings.of_vms(vm_ids), compiled.rules.spec
    vms = transaction.fleet.vms_of(vm_ids)
    found = {vm.id for vm in vms if captured(vm, settings.get(vm.id, NO_SETTINGS), spec)}
    return tuple(vm_id for vm_id in vm_ids if vm_id in found)


def _standings(transaction: Transaction, due: _Due) -> list[Standing]:
    policy = due.compiled.policy
    nominal_us = microseconds_of(due.nominal)
    fired = transaction.policies.fired(policy.id, due.vm_ids, nominal_us)
    fired |= transaction.policies.backed_up_since(policy.id, policy.repository_id, nominal_us)
    opened = transaction.policies.in_the_way(policy.id, due.vm_ids, policy.repository_id)
    own = {vm_id: run_id for vm_id, (run_id, by) in opened.items() if by == policy.id}
    skipped = transaction.policies.skipped_since(policy.id, list(own), list(own.values())) if own else frozenset()
    return [
        Standing(
            vm_id,
            open_by=opened[vm_id][1] if vm_id in opened else None,
            fired=vm_id in fired,
            skipped=vm_id in skipped,
        )
        for vm_id in due.vm_ids
    ]


def _unchanged(transaction: Transaction, policy: Policy) -> bool:
    current = transaction.policies.policy(policy.id)
    return current is not None and current.active and current.revision == policy.revision


def _waits_until(compiled: Compiled, start: datetime) -> str:
    local = f"{start.astimezone(compiled.rules.zone):%a %H:%M %Z}"
    return f"begins at {local}: policy {compiled.policy.name} spreads its starts, inside its windows where it has some"


def _ended(run: Run, decision: Decision) -> Run:
    state = RunState.SKIPPED if decision.what is What.SKIP else RunState.MISSED
    next_step = (
        "Nothing: the next one is due as planned."
        if state is RunState.SKIPPED
        else "Back the VM up by hand if it cannot wait."
    )
    failure = Failure(state.value, decision.why, next_step, FailureKind.PERMANENT)
    now_us = run.created_us
    return replace(run, state=state, failure=failure, ended_us=now_us, deadline_us=now_us, point_id="", blocked_on="")
