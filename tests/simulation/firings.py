"""What a policy owes every VM whenever it is due: a run for that time, or a reason why it needs none.

Told by `invariants`, asked by `liveness`. Which VMs there are the world knows: the policy protects all of them. The database is asked only
whom its hosts report. Nothing of `policies/selection.py`, `policies/decision.py` and `scheduler/firing.py` is asked: they are what is
looked at.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import sqlalchemy as sa

from seawall.controller.database.tables import vms
from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.records.runs import Run, RunKind, RunState
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of, microseconds_of

from .watching import Committed

if TYPE_CHECKING:
    from .world import World

REPORTED_SECONDS = 120.0
"""Whoever was reported again only then may have been left out: a leader that stands still for longer than a part of this leads no more."""
ENDED_SECONDS = 120.0
"""A run that ended only then was open when the firing looked at it."""
CLOCKS_SECONDS = 60.0
FIRED_WITHIN_SECONDS = 120.0
"""Of a leader that lacks nothing: a look takes a few milliseconds, and comes each quarter of a minute."""
REPORTS = 2.5
"""Whole inventories, each of which tells of every VM: one may be lost."""
GOOD = (RunState.SUCCEEDED, RunState.SUCCEEDED_WITH_WARNINGS)


class Firings:
    """`committed` hears of each transaction; `look` of each half minute, with how long nothing has been in the leader's way."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._absent: set[str] = set()
        """VMs that no host reports, as the database has it."""
        self._back: dict[str, float] = {}
        """VM -> when it was reported after it had been absent."""
        self._fired_us: dict[str, int] = {}
        """Policy -> the last nominal time that is done, or what stands for it since it was applied."""
        self._carried_since: dict[tuple[str, str, int], float] = {}
        self._told: set[tuple[str, int]] = set()

    def load(self, transaction: Transaction) -> None:
        """All anew: the database was rolled back."""
        self._fired_us = {each.id: each.fired_us for each in transaction.policies.policies(deleted=True)}
        self._carried_since.clear()
        self._told.clear()
        self._look_who_is_there()

    def committed(self, committed: Committed) -> None:
        if any(call.result.changed for call in committed.named("replace_inventory")):
            self._look_who_is_there()
        for policy in [*(call.given[0] for call in committed.named("add_policy")), *_saved(committed)]:
            self._fired_us[policy.id] = policy.fired_us
        for call in committed.named("mark_fired"):
            policy_id, nominal_us = call.given
            before_us, self._fired_us[policy_id] = self._fired_us.get(policy_id, 0), nominal_us
            if nominal_us > before_us:  # else the clock was set back, and it is told from where to go on
                self._done(policy_id, nominal_us)

    def _look_who_is_there(self) -> None:
        found = sa.select(vms.c.id).where(vms.c.present == 1)
        present = self._world.database.engine.read(lambda connection: set(connection.execute(found).scalars()))
        absent = self._world.placed.keys() - present
        self._back.update(dict.fromkeys(self._absent - absent, self._world.now))
        self._absent = absent

    def _done(self, policy_id: str, nominal_us: int) -> None:
        """The firing is over, says whoever marks it."""
        world, fired = self._world, self._world.invariants.shadow.fired
        since = world.now - REPORTED_SECONDS
        owed = [vm_id for vm_id in world.placed if vm_id not in self._absent and self._back.get(vm_id, -1.0) < since]
        world.invariants.looked["VM of a firing"] += len(owed)
        without = {vm_id for vm_id in owed if (policy_id, vm_id, nominal_us) not in fired}
        if without:
            due = world.database.read(lambda transaction: transaction.policies.due(policy_id))
            without -= {each.vm_id for each in due if each.nominal_us == nominal_us}
        for vm_id, runs in self._runs_of(without).items():
            if not self._is_excused(policy_id, nominal_us, runs):
                world.problem(f"the policy fired for {nominal_us}, and {vm_id} has no run of it, and no reason")

    def _runs_of(self, vm_ids: Iterable[str]) -> dict[str, list[Run]]:
        """Backups."""
        found: dict[str, list[Run]] = {vm_id: [] for vm_id in sorted(vm_ids)}
        for run in self._world.invariants.shadow.runs.values() if found else ():
            if run.vm_id in found and run.kind is RunKind.BACKUP:
                found[run.vm_id].append(run)
        return found

    def _is_excused(self, policy_id: str, nominal_us: int, runs: list[Run]) -> bool:
        """A point of the policy, or one that the bucket brought back, is new enough; or its last backup goes on, and that was written down
        once already.
        """
        clocks_us = int((CLOCKS_SECONDS + self._world.skew_seconds) * 1_000_000)
        ended_us = self._world.clock.now_us() - int(ENDED_SECONDS * 1_000_000) - clocks_us
        own = [run for run in runs if run.policy_id == policy_id]
        brought = [run for run in runs if not run.policy_id and run.deadline_us == run.created_us]
        if any(run.state in GOOD and run.ended_us + clocks_us >= nominal_us for run in (*own, *brought)):
            return True
        skipped = max((run.id for run in own if run.state is RunState.SKIPPED), default="")
        others = [run for run in own if run.state not in (RunState.SKIPPED, RunState.MISSED)]
        return any(run.id < skipped for run in others if not run.state.over or run.ended_us >= ended_us)

    def look(self, transaction: Transaction, well_for: float) -> None:
        self._look_what_is_due(transaction, well_for)
        self._look_who_waits(transaction, well_for)

    def at_the_end(self) -> None:
        """Whom the database does not know is owed nothing: so it must know everybody, once all hosts had time to report them again."""
        world = self._world
        healed_for = world.clock.now_us() - world.healed_us
        if healed_for < REPORTS * world.size.pace.agent.inventory * 1_000_000:
            return
        world.invariants.looked["VM that is there"] += len(world.placed)
        for vm_id in sorted(self._absent):
            world.problem(f"{vm_id} runs, and the database says that no host reports it")

    def _look_what_is_due(self, transaction: Transaction, well_for: float) -> None:
        """Each nominal time is fired for, soon."""
        if well_for < FIRED_WITHIN_SECONDS:
            return
        until = datetime_of(self._world.clock.now_us()) - timedelta(seconds=FIRED_WITHIN_SECONDS)
        for policy in transaction.policies.policies():
            nominal = (
                _rules(policy.spec).calendar.latest(until, datetime_of(policy.fired_us)) if policy.active else None
            )
            self._world.invariants.looked["policy that may be due"] += policy.active
            if nominal is not None and (policy.id, policy.fired_us) not in self._told:
                self._told.add((policy.id, policy.fired_us))
                self._world.problem(f"policy {policy.name} was due at {microseconds_of(nominal)}, and nothing is fired")

    def _look_who_waits(self, transaction: Transaction, well_for: float) -> None:
        """Who had to wait for another run has its own soon after that."""
        shadow, now = self._world.invariants.shadow, self._world.now
        since: dict[tuple[str, str, int], float] = {}
        for each in transaction.policies.due():
            open_runs = shadow.by_vm.get(each.vm_id, {}).values()
            key = (each.policy_id, each.vm_id, each.nominal_us)
            if well_for > 0 and not any(run.state is RunState.ACTIVE for run in open_runs):
                since[key] = self._carried_since.get(key, now)
                if now - since[key] > FIRED_WITHIN_SECONDS and key[1:] not in self._told:
                    self._told.add(key[1:])
                    self._world.problem(
                        f"{each.vm_id} waits for its run of {each.nominal_us}, and nothing is in its way"
                    )
        self._carried_since = since


def _saved(committed: Committed) -> list[Policy]:
    return [call.given[1] for call in committed.named("save_policy")]


@cache
def _rules(spec: PolicySpec) -> CompiledSpec:
    return CompiledSpec(spec)
