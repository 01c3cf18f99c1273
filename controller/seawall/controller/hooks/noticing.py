"""Finds what policies are to tell of their VMs. Part of the leader; belongs to the event loop.

Troubles are rows; what came and what went since the last look becomes one notice of the policy, made in the transaction that writes the
rows. So each change is told once, however often somebody looks, and a store that fails five thousand VMs makes one notice, not so many.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.hooks.decision import calls_of_notice
from seawall.controller.hooks.messages import notice_bodies
from seawall.controller.hooks.troubles import (
    News,
    after_runs,
    news,
    protected_still,
    told,
    wanted,
    with_damage,
    with_rpo,
)
from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.lateness import asked_since_us
from seawall.controller.policies.protection import Fleet, fleet_of
from seawall.controller.records.catalogue import Point
from seawall.controller.records.hooks import EndedRun, Event, Trouble
from seawall.controller.records.policies import Policy
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import SCHEDULER
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US, Timings
from seawall.repository.clock import Clock

LOOK_BACK_US = 2 * 86_400 * SECOND_US
"""At a leader's start: it does not know what its predecessor had looked at."""
_OF_POINTS = {Event.RPO, Event.DAMAGED}
OVERLAP_US = 600 * SECOND_US

_log = structlog.get_logger()


class Noticing:
    """One for the controller. `wall` judges the age of points, `clock` the ends of runs."""

    def __init__(self, executions: Executions, lease: LeaderLease, wall: Clock, clock: Clock, timings: Timings) -> None:
        self._executions = executions
        self._lease = lease
        self._wall = wall
        self._clock = clock
        self._timings = timings
        self._since_us = clock.now_us() - LOOK_BACK_US
        self._rpo_looked: float | None = None

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts."""
        while not drain.started:
            try:
                await self.look()
            except ControllerError as error:
                _log.warning("notices.look_refused", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look reads everything anew.
                _log.exception("notices.look_failed")
            await drain.first(drain.wait(), self._timings.notice_seconds)

    async def look(self) -> None:
        """Raises Unavailable/NOT_LEADER."""
        begun_us, now = self._clock.now_us(), self._clock.monotonic_seconds()
        whole = self._rpo_looked is None or now - self._rpo_looked >= self._timings.rpo_look_seconds
        policies = await self._executions.store.read(lambda transaction: transaction.policies.policies(deleted=True))
        telling = [policy for policy in policies if policy.spec.hooks.notify.names and not policy.deleted_us]
        if telling:
            await self._ends(telling)
            if whole:
                await self._ages([policy for policy in telling if _OF_POINTS & wanted(policy.spec)])
        if whole:
            await self._forget([policy for policy in policies if policy not in telling])
            self._rpo_looked = now
        self._since_us = begun_us - OVERLAP_US

    async def _ends(self, policies: Sequence[Policy]) -> None:
        ids, since_us = [policy.id for policy in policies], self._since_us
        ended = await self._executions.store.read(lambda transaction: transaction.hooks.ended_runs(ids, since_us))
        of: defaultdict[str, list[EndedRun]] = defaultdict(list)
        for run in ended:
            of[run.policy_id].append(run)
        for policy in policies:
            if policy.id in of:
                await self._change(policy, partial(after_runs, policy_id=policy.id, ended=of[policy.id]))

    async def _ages(self, policies: Sequence[Policy]) -> None:
        if not policies:
            return
        fleet = await self._executions.store.read(fleet_of)
        for policy in policies:
            try:
                await self._age(policy, fleet)
            except (ValueError, LookupError):
                # What was checked when it was applied, with the zones of then: the other policies go on.
                _log.exception("policy.unreadable", policy=policy.name, revision=policy.revision)

    async def _age(self, policy: Policy, fleet: Fleet) -> None:
        vms = await asyncio.to_thread(fleet.of, CompiledSpec(policy.spec))
        ids = [vm.id for vm in vms]
        newest, asked, flawed = await self._executions.store.read(
            lambda transaction: _of_points(transaction, policy, ids)
        )
        instants, now_us = {vm_id: newest.get(vm_id, 0) for vm_id in ids}, self._wall.now_us()

        def aged(known: Sequence[Trouble]) -> list[Trouble]:
            still = protected_still(known, instants)
            if policy.active:  # a paused one makes nobody late, and nobody well
                still = with_rpo(still, policy.id, instants, policy.spec.rpo_seconds, asked, now_us)
            return with_damage(still, policy.id, flawed, instants, now_us)

        await self._change(policy, aged, frozenset(instants))

    async def _change(
        self,
        policy: Policy,
        now: Callable[[Sequence[Trouble]], Sequence[Trouble]],
        protected: frozenset[str] | None = None,
    ) -> None:
        events = wanted(policy.spec)

        def planned(transaction: Transaction) -> News:
            known = transaction.hooks.troubles(policy.id)
            return news(known, [each for each in now(known) if each.event in events], protected)

        if (await self._executions.store.read(planned)).empty:
            return
        leader = self._lease.current

        def closure(transaction: Transaction) -> News:
            transaction.leadership.check(leader)
            found = planned(transaction)
            transaction.hooks.take_troubles(found.gone)
            transaction.hooks.put_troubles(found.came)
            said = told(found, events)
            for body in notice_bodies(said.came, said.recovered, _names(transaction, said), self._clock.now_us()):
                transaction.hooks.add_calls(calls_of_notice(policy, body, self._clock))
            return said

        said = await self._executions.store.write(closure)
        self._executions.wakes.notify((SCHEDULER,))
        _log.info("policy.noticed", policy=policy.name, troubles=len(said.came), recovered=len(said.recovered))

    async def _forget(self, policies: Sequence[Policy]) -> None:
        """Policies that tell nothing (any more) begin anew when they do again."""

        def known(transaction: Transaction) -> list[str]:
            return [policy.id for policy in policies if transaction.hooks.troubles(policy.id)]

        leader = self._lease.current
        for policy_id in await self._executions.store.read(known):

            def closure(transaction: Transaction, policy_id: str = policy_id) -> None:
                transaction.leadership.check(leader)
                transaction.hooks.drop_troubles(policy_id)

            await self._executions.store.write(closure)


def _of_points(
    transaction: Transaction, policy: Policy, vm_ids: Sequence[str]
) -> tuple[dict[str, int], dict[str, int], Sequence[Point]]:
    """(newest points by VM, since when the policy asks for points of each VM, points that are not whole)."""
    newest = transaction.policies.newest_us(policy.id)
    asked = asked_since_us(transaction, policy.id, newest, vm_ids)
    return newest, asked, transaction.points.flawed(policy.id)


def _names(transaction: Transaction, said: News) -> dict[str, str]:
    ids = sorted({*(each.vm_id for each in said.came), *said.recovered})
    return {vm.id: vm.name for vm in transaction.fleet.vms_of(ids)}
