"""Leaders that die around a call: it is made again, under the same id, and its end is written down once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.directory import HookDirectory
from seawall.controller.hooks.runner import HookRunner
from seawall.controller.records.hooks import CallState, HookCall, Stage
from seawall.controller.records.runs import Attempt, AttemptState, FailureKind, Run, RunState
from seawall.controller.runs.events import Accepted, AgentFailed, CancelAsked, Event, Greeted, Moment
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.views import run_views
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import SystemClock
from support.controller_clock import ManualClock
from support.controller_records import a_failure
from support.policies import a_policy, add_policy, fleet_store
from support.policy_firing import Died, FiringLeader

HOUR = 3600.0
BEGIN_US = round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1_000_000)


class Scene:
    """A policy that fired for vm-1, its run placed; hooks that write the ids of their calls into a file."""

    def __init__(self, leader: FiringLeader, folder: Path) -> None:
        self.leader = leader
        self.called = folder / "called"
        self.hooks = folder / "hooks"
        self.hooks.mkdir()
        path = self.hooks / "quiesce"
        path.write_text(f'#!/bin/sh\necho "$SEAWALL_CALL $SEAWALL_TRY" >> {self.called}\ntest ! -e {folder}/no\n')
        path.chmod(0o755)

    def fire(self, text: str) -> None:
        add_policy(self.leader.database, a_policy(text, fired_us=self.leader.clock.now_us()))
        self.leader.advance(15 * HOUR)
        self.leader.look()

    def place(self, number: int = 1) -> Attempt:
        moment = Moment(self.leader.clock.now_us(), Timings())
        start = (self.run, f"attempt-{number}", "alpha", 1, moment)
        return self.leader.database.write_now(lambda transaction: Change(transaction).start(*start)).attempt

    def happens(self, event: Event, number: int = 1) -> None:
        """To the attempt."""
        moment = Moment(self.leader.clock.now_us(), Timings())

        def closure(transaction: Transaction) -> None:
            change = Change(transaction)
            change.take(change.load(f"attempt-{number}"), event, moment)

        self.leader.database.write_now(closure)

    @property
    def run(self) -> Run:
        return self.leader.runs("vm-1")[0]

    @property
    def calls(self) -> list[HookCall]:
        return list(self.leader.database.read_now(lambda transaction: transaction.hooks.calls_of([self.run.id])))

    @property
    def attempt(self) -> Attempt:
        """The first."""
        found = self.leader.database.read_now(lambda transaction: transaction.runs.attempt("attempt-1"))
        assert found is not None
        return found

    @property
    def mark(self) -> int:
        """What watchers compare, of the table alone and of the whole view: one."""
        run, now_us = self.run, self.leader.clock.now_us()
        (view,) = self.leader.database.read_now(lambda seen: run_views(seen, [run], now_us, listening_us=0))
        marks = self.leader.database.read_now(lambda transaction: transaction.runs.marks(0))
        assert marks[run.id] == sum(view.mark)
        return marks[run.id]

    def tick(self) -> None:
        """The scheduler's look, without a grace, and nothing starts."""

        async def once() -> None:
            await self.leader.lease.renew()
            executions, timings = Executions(self.leader.store, Wakes()), replace(Timings(), failover_grace_seconds=0)
            steady = SteadyClock(self.leader.clock)
            await Tick(executions, self.leader.lease, steady, timings, Random(1), may_start=lambda: False).run_once()

        asyncio.run(once())

    @property
    def ids(self) -> list[str]:
        return self.called.read_text().splitlines() if self.called.exists() else []

    def look(
        self, dies_after: int | None = None, meanwhile: Callable[[HookRunner], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        """`dies_after`: so many writes; then another one takes over."""

        async def once() -> None:
            executions = Executions(self.leader.store, Wakes())
            caller = Caller(HookDirectory(self.hooks), SystemClock())
            runner = HookRunner(executions, self.leader.lease, caller, self.leader.clock, Timings())
            await self.leader.lease.renew()
            self.leader.store.left = dies_after
            await runner.look()
            if meanwhile is not None:
                await meanwhile(runner)
            calls = await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
            for died in (each for each in calls if isinstance(each, Died)):
                raise died

        self._kept(once)

    def _kept(self, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(act())
        except Died:
            pass
        if self.leader.store.left is not None:
            self.leader.take_over()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with fleet_store(tmp_path, ["vm-1"]) as database:
        clock = ManualClock(BEGIN_US)
        yield Scene(FiringLeader(database, clock, clock), tmp_path)


def test_a_leader_that_dies_before_it_wrote_the_outcome_down_leaves_the_call_to_the_next(scene: Scene) -> None:
    scene.fire("hooks: {before: {run: quiesce}}")
    scene.look()
    assert scene.ids == [], "nobody has a place yet"
    scene.place()
    scene.look(dies_after=0)  # before it wrote that it begins
    assert scene.ids == []
    scene.look(dies_after=1)  # it called
    (call,) = scene.calls
    assert (scene.ids, call.state, call.tries) == ([f"{call.id} 1"], CallState.WAITING, 1)
    scene.look()
    (after,) = scene.calls
    assert (scene.ids, after.state) == ([f"{call.id} 1", f"{call.id} 2"], CallState.DONE)
    scene.look()
    assert len(scene.ids) == 2


def test_a_hook_that_fails_ends_its_run_with_its_attempt(scene: Scene, tmp_path: Path) -> None:
    scene.fire("hooks: {before: {run: quiesce, on_failure: skip}, after: {run: quiesce}}")
    attempt = scene.place()
    (tmp_path / "no").touch()
    scene.look()
    assert (scene.run.state, scene.run.failure and scene.run.failure.reason) == (RunState.SKIPPED, "HOOK_SKIPPED")
    stored = scene.leader.database.read_now(lambda transaction: transaction.runs.attempt(attempt.id))
    assert stored is not None and stored.state is AttemptState.FAILED
    scene.look()
    assert [(call.state, call.tries) for call in scene.calls] == [(CallState.FAILED, 1), (CallState.WAITING, 1)]
    (tmp_path / "no").unlink()
    scene.look()
    assert scene.calls[1].state is CallState.WAITING, "it waits ten seconds"
    scene.leader.advance(10)
    scene.look()
    assert [call.state for call in scene.calls] == [CallState.FAILED, CallState.DONE]


def test_a_hook_that_is_not_there_is_waited_for(scene: Scene) -> None:
    """The next leader's machine may have it; and what says nothing cannot say "skip"."""
    scene.fire("hooks: {before: {run: quiesce, on_failure: skip}}")
    (scene.hooks / "quiesce").rename(scene.hooks / "elsewhere")
    scene.place()
    scene.look()
    run = scene.run
    assert (run.state, run.requeues) == (RunState.READY, 1) and "no hook" in run.blocked_on
    (scene.hooks / "elsewhere").rename(scene.hooks / "quiesce")
    scene.place(2)
    scene.look()
    assert [call.state for call in scene.calls] == [CallState.FAILED, CallState.DONE]


def test_each_attempt_has_its_own_calls(scene: Scene, tmp_path: Path) -> None:
    """Else what a hook stops would stand still until the next attempt, hours later, and would not be stopped for that one."""
    scene.fire("hooks: {before: {run: quiesce}, after: {run: [quiesce, report]}}")
    report = scene.hooks / "report"
    report.write_text(f"#!/bin/sh\necho reported $SEAWALL_ATTEMPT $SEAWALL_STATE >> {scene.called}\n")
    report.chmod(0o755)
    scene.place()
    scene.look()
    scene.happens(Accepted("session"))
    scene.look()
    assert len(scene.ids) == 1, "its attempt is under way"
    scene.happens(AgentFailed(a_failure(FailureKind.TRANSIENT), canceled=False))
    assert scene.run.state is RunState.READY
    (tmp_path / "no").touch()
    scene.look()
    scene.look()
    states = [(call.stage, call.state) for call in scene.calls]
    assert states == [
        (Stage.BEFORE, CallState.DONE),
        (Stage.AFTER, CallState.WAITING),
        (Stage.AFTER, CallState.WAITING),
    ], "nobody reports before the other one is done"
    (tmp_path / "no").unlink()
    scene.leader.advance(10)
    scene.look()
    scene.look()
    assert scene.ids[-1] == "reported 1 ready"
    scene.place(2)
    scene.look()
    assert [call.state for call in scene.calls if call.attempt_id == "attempt-2"] == [
        CallState.DONE,
        CallState.WAITING,
        CallState.WAITING,
    ]


def test_what_comes_after_an_attempt_is_given_up_when_the_next_one_begins(scene: Scene, tmp_path: Path) -> None:
    scene.fire("hooks: {before: {run: quiesce}, after: {run: quiesce}}")
    scene.place()
    scene.look()
    (tmp_path / "no").touch()
    scene.happens(Greeted("next", runs=False))  # nobody took it: it stays
    scene.happens(Accepted("session"))
    scene.happens(AgentFailed(a_failure(FailureKind.TRANSIENT), canceled=False))
    scene.look()
    (tmp_path / "no").unlink()
    scene.place(2)
    scene.leader.advance(10)
    scene.look()
    scene.look()
    of = [(call.attempt_id, call.stage, call.state) for call in scene.calls]
    assert of[1] == ("attempt-1", Stage.AFTER, CallState.DROPPED), "it would undo what was done before the second"
    assert of[2] == ("attempt-2", Stage.BEFORE, CallState.DONE)


def test_what_was_stopped_is_released_when_the_next_attempt_comes_to_nothing(scene: Scene, tmp_path: Path) -> None:
    scene.fire("hooks: {before: {run: quiesce}, after: {run: quiesce}}")
    scene.place()
    scene.look()
    (tmp_path / "no").touch()
    scene.happens(Accepted("session"))
    scene.happens(AgentFailed(a_failure(FailureKind.TRANSIENT), canceled=False))
    scene.look()
    (tmp_path / "no").unlink()
    scene.place(2)
    scene.happens(CancelAsked(), number=2)  # before anything was done for it
    scene.leader.advance(10)
    scene.look()
    after = {call.attempt_id: call.state for call in scene.calls if call.stage is Stage.AFTER}
    assert after == {"attempt-1": CallState.DONE, "attempt-2": CallState.DROPPED}


def test_a_directory_that_cannot_be_read_ends_nobody(scene: Scene) -> None:
    """The loop, that is: hosts would wait for hooks as long as this controller leads."""

    class Broken(HookDirectory):
        def names(self) -> frozenset[str]:
            raise PermissionError("broken")

    async def lead() -> None:
        await scene.leader.lease.renew()
        caller, drain = Caller(Broken(scene.hooks), SystemClock()), Drain()
        executions = Executions(scene.leader.store, Wakes())
        runner = HookRunner(executions, scene.leader.lease, caller, scene.leader.clock, Timings())
        loop = asyncio.create_task(runner.run(drain))
        async with asyncio.timeout(60):
            while not loop.done() and scene.calls[0].state is CallState.WAITING:
                await asyncio.sleep(0.02)
        drain.start()
        await loop

    scene.fire("hooks: {before: {run: quiesce}}")
    scene.place()
    asyncio.run(lead())
    assert [call.state for call in scene.calls] == [CallState.DONE]


def test_an_attempt_that_waits_for_its_hooks_does_not_expire_and_counts_once_they_were_called(scene: Scene) -> None:
    scene.fire("hooks: {before: {run: quiesce}}")
    scene.place()
    marks = [scene.mark]
    scene.leader.advance(61)
    scene.tick()
    assert scene.attempt.state is AttemptState.ASSIGNED, "many wait for hooks"
    scene.look()
    assert [call.state for call in scene.calls] == [CallState.DONE]
    marks.append(scene.mark)
    assert marks[0] < marks[1], "who watches the run sees the call"
    scene.leader.advance(59)
    scene.tick()
    assert scene.attempt.state is AttemptState.ASSIGNED, "its host has a minute again"
    scene.leader.advance(2)
    scene.tick()
    assert (scene.attempt.state, scene.run.state, scene.run.tries) == (AttemptState.EXPIRED, RunState.READY, 1)
    assert "NOT_TAKEN" in scene.run.blocked_on


def test_a_cancel_ends_the_hook_that_is_under_way(scene: Scene, tmp_path: Path) -> None:
    scene.fire("hooks: {before: {run: quiesce}, after: {run: report}}")
    report = scene.hooks / "report"
    report.write_text(f"#!/bin/sh\ntouch {tmp_path}/reported\n")
    report.chmod(0o755)
    scene.place()
    path = scene.hooks / "quiesce"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/began\nsleep 600\n")

    async def cancelled(runner: HookRunner) -> None:
        while not (tmp_path / "began").exists():
            await asyncio.sleep(0.02)
        scene.happens(CancelAsked())
        await runner.look()

    scene.look(meanwhile=cancelled)
    assert scene.run.state is RunState.CANCELED
    assert scene.calls[0].state is CallState.DROPPED
    scene.look()
    assert (tmp_path / "reported").exists(), "what was begun before is undone after"


def test_an_attempt_that_nobody_took_leaves_nothing_to_be_called(scene: Scene) -> None:
    scene.fire("hooks: {after: {run: quiesce}}")
    scene.place()
    scene.happens(CancelAsked())
    scene.look()
    assert [call.state for call in scene.calls] == [CallState.DROPPED] and scene.ids == []
