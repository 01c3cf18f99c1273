"""The scheduler's mirror of the fleet against the database itself: whatever happened between its looks, it sees what a new one sees."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.admission.lines import lines_of
from seawall.controller.admission.mirror import FleetMirror, Sight
from seawall.controller.database.database import Database
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.limits import Limit, Measure, Scope, Service
from seawall.controller.records.runs import OPEN_RUN_STATES, AttemptState, RunFilter, RunState
from seawall.controller.scheduler.placement import plan, plan_lines
from seawall.controller.store.transaction import Transaction
from support.controller_databases import ENGINES, open_engine
from support.controller_records import HOUR, NOW, SECOND, a_point, a_repository, a_run, a_session, a_vm, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

HOSTS = ("alpha", "beta", "gamma")
VMS = [f"vm-{number}" for number in range(8)]
STEPS = 80


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with open_engine(request.param, request, tmp_path) as opened:
        add_hosts(opened, *HOSTS)
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        opened.write_now(lambda transaction: transaction.policies.add_policy(a_policy("rpo: 4h\n")))
        yield opened


@pytest.mark.parametrize("seed", range(3))
def test_a_mirror_that_looked_often_sees_what_a_new_one_sees(database: Database, seed: int) -> None:
    fleet, mirror = _Fleet(random.Random(seed)), FleetMirror()
    placed = 0
    for _ in range(STEPS):
        for _ in range(fleet.rng.randrange(4)):
            database.write_now(fleet.step)
        fleet.now_us += fleet.rng.randrange(90) * SECOND
        kept = database.read_now(lambda transaction: mirror.look(transaction, fleet.now_us))
        fresh = database.read_now(lambda transaction: FleetMirror().look(transaction, fleet.now_us))
        assert _seen(kept) == _seen(fresh)
        assert kept.lines == lines_of(kept.ready, kept.facts)
        made = plan_lines(kept.lines, kept.facts)
        assert made == plan(fresh.ready, fresh.facts)
        assert {run.id for run in kept.ready} == made.waiting.keys() | {each.run.id for each in made.placements}
        placed += len(made.placements)
    assert placed > 5, "hardly anything could begin: the steps prove little"


def _seen(sight: Sight) -> tuple[object, ...]:
    facts = replace(sight.facts, live=sorted(sight.facts.live, key=lambda each: each.attempt_id))
    ready = sorted(sight.ready, key=lambda run: run.id)
    return ready, sight.lines, facts, sorted(sight.attempts, key=lambda each: each.id), sight.next_due_us


class _Fleet:
    """Something happens: each step one transaction of things that controllers, agents and operators do."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_us = NOW
        self._number = 0

    def step(self, transaction: Transaction) -> None:
        deeds: tuple[Callable[[Transaction], None], ...] = (
            self.order,
            self.order,
            self.order,
            self.change_a_run,
            self.begin,
            self.end,
            self.end,
            self.report,
            self.report,
            self.greet,
            self.greet,
            self.publish,
            self.publish,
            self.give_up,
            self.keep_apart,
            self.limit,
            self.objective,
            self.serve,
        )
        self.rng.choice(deeds)(transaction)

    def order(self, transaction: Transaction) -> None:
        self._number += 1
        vm_id = self.rng.choice(VMS)
        due_us = self.now_us + self.rng.choice((0, 0, 0, 200)) * SECOND
        fired = {"policy_id": "policy-1", "nominal_us": self._number} if self.rng.random() < 0.5 else {}
        waiting = transaction.runs.runs(RunFilter(vm_id=vm_id, states=OPEN_RUN_STATES))
        if any(run.policy_id == fired.get("policy_id", "") for run in waiting):
            return
        run = a_run(self._number, vm_id=vm_id, created_us=self.now_us, not_before_us=due_us)
        tenant = self.rng.choice(("red", "green"))
        transaction.runs.add_run(replace(run, tenant=tenant, deadline_us=due_us + HOUR, **fired))  # type: ignore[arg-type]

    def change_a_run(self, transaction: Transaction) -> None:
        ready = transaction.runs.ready(self.now_us + HOUR)
        if ready:
            run = self.rng.choice(ready)
            over = replace(run, state=RunState.CANCELED, ended_us=self.now_us)
            later = replace(run, not_before_us=self.now_us + 100 * SECOND)
            told = replace(run, blocked_on=f"waits for {self.rng.randrange(9)}")
            transaction.runs.save_run(run, self.rng.choice((over, later, told)))

    def begin(self, transaction: Transaction) -> None:
        ready = transaction.runs.ready(self.now_us)
        run = self.rng.choice(ready) if ready else None
        first = transaction.runs.open_backup(run.vm_id, run.repository_id) if run else None
        if run and first and first.state is RunState.READY:
            attempt_id = f"00000000-0000-7000-8000-{self.rng.randrange(10**12):012d}"
            attempt = replace(an_execution().attempt, id=attempt_id, run_id=run.id, no=run.attempt_count + 1)
            transaction.runs.add_attempt(replace(attempt, host_id=self.rng.choice(HOSTS)))
            active = replace(run, state=RunState.ACTIVE, current_attempt=attempt_id, attempt_count=attempt.no)
            transaction.runs.save_run(run, active)

    def end(self, transaction: Transaction) -> None:
        live = transaction.runs.live_attempts()
        if live:
            attempt = self.rng.choice(live)
            done, failed = AttemptState.PUBLISHING, AttemptState.FAILED
            state = self.rng.choice((AttemptState.TRANSFERRING, AttemptState.LOST, done, failed, failed, failed))
            lost_from = AttemptState.PREPARING if state is AttemptState.LOST else None
            after = replace(attempt, state=state, lost_from=lost_from, handed_over=state is done)
            transaction.runs.save_attempt(attempt, after)
            run = transaction.runs.run(attempt.run_id)
            assert run is not None
            if not state.live:
                again = replace(run, state=RunState.READY, not_before_us=self.now_us + 30 * SECOND, current_attempt="")
                transaction.runs.save_run(run, again)

    def report(self, transaction: Transaction) -> None:
        host_id = self.rng.choice(HOSTS)
        sources = ("/pool/a.qcow2", "/other/a.qcow2", "rbd:pool/a")
        vms = []
        for vm_id in self.rng.sample(VMS, self.rng.randrange(4, len(VMS))):
            tags = self.rng.choice(((), ("gold",)))
            (disk,) = a_vm().disks
            disks = (replace(disk, source=self.rng.choice(sources)),)
            vms.append(a_vm(vm_id, host_id, tags=tags, disks=disks, last_seen_us=self.now_us))
        transaction.fleet.replace_inventory(host_id, self.now_us, vms)

    def greet(self, transaction: Transaction) -> None:
        lease_us = self.now_us + self.rng.choice((0, 900, 900, 900)) * SECOND
        transaction.fleet.open_session(a_session(self.rng.choice(HOSTS), lease_us, str(self._number)))

    def publish(self, transaction: Transaction) -> None:
        live = transaction.runs.live_attempts()
        if live:
            attempt = self.rng.choice(live)
            run = transaction.runs.run(attempt.run_id)
            if run is not None and transaction.points.point(run.id) is None:
                instant_us = self.now_us - self.rng.randrange(-1, 9) * HOUR
                point = a_point(run, attempt.id, instant_us=instant_us, policy_id=run.policy_id)
                transaction.points.add_point(point)
                transaction.points.make_available(run.id, self.now_us)

    def give_up(self, transaction: Transaction) -> None:
        points = [each for each in transaction.points.points() if each.state is PointState.AVAILABLE]
        if points:
            transaction.points.begin_delete(self.rng.choice(points).id, b"tombstone", self.now_us)

    def keep_apart(self, transaction: Transaction) -> None:
        some = [vm_id for vm_id in VMS[:3] if transaction.fleet.vm(vm_id) is not None]
        if some:
            change = self.rng.choice((transaction.limits.keep_apart, transaction.limits.keep_together))
            change("galera", some)

    def limit(self, transaction: Transaction) -> None:
        scope = self.rng.choice((Scope.GLOBAL, Scope.HOST, Scope.TENANT, Scope.STORAGE))
        transaction.limits.set_limit(Limit(scope, "", Measure.TRANSFERRING, self.rng.randrange(2, 9)))

    def objective(self, transaction: Transaction) -> None:
        policy = transaction.policies.policy("policy-1")
        assert policy is not None
        spec = replace(policy.spec, rpo_seconds=self.rng.choice((0, 3600, 86_400)))
        transaction.policies.save_policy(policy, replace(policy, revision=policy.revision + 1, spec=spec))

    def serve(self, transaction: Transaction) -> None:
        transaction.fleet.set_service(
            self.rng.choice(HOSTS), self.rng.choice((*Service, Service.IN_SERVICE, Service.IN_SERVICE))
        )
