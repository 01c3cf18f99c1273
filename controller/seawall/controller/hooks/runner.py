"""Makes the calls that are due. Part of the leader; belongs to the event loop.

Each call is made at least once: a leader that dies before it wrote down the outcome leaves it to the next one, who calls again with the
same id. What is due is found by looking, at each change and every few seconds, so nothing that ends an attempt has to know of hooks.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.decision import Step, begun, dropped, ended, failure_of, step_of
from seawall.controller.hooks.messages import Message, RunNames, notice_message, run_message
from seawall.controller.hooks.outcome import Outcome
from seawall.controller.records.hooks import HookCall, Stage
from seawall.controller.records.leadership import Leader
from seawall.controller.records.runs import Failure
from seawall.controller.runs.events import HookPassed, HookRefused, Moment
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import SCHEDULER
from seawall.controller.server.drain import Drain
from seawall.controller.store.hooks import DueCall
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US, Timings
from seawall.repository.clock import Clock

MOST_AT_ONCE = {Stage.BEFORE: 64, Stage.AFTER: 32, Stage.NOTIFY: 16}
"""Hosts wait for what comes before; a webhook that hangs after ten thousand runs holds up nobody but its like."""
MOST_DUE = 1000
KEPT_US = 30 * 86_400 * SECOND_US
"""Calls that are over are forgotten after so long."""
SWEEP_SECONDS = 3600.0
SWEPT_AT_ONCE = 1000
LEAST_PAUSE_SECONDS = 0.25

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Begun:
    call: HookCall
    message: Message


@dataclass(frozen=True, slots=True)
class _Task:
    call_id: str
    stage: Stage
    task: asyncio.Task[None]


class HookRunner:
    """One for the controller. `clock`: steady, as the runs' times."""

    def __init__(
        self, executions: Executions, lease: LeaderLease, caller: Caller, clock: Clock, timings: Timings
    ) -> None:
        self._executions = executions
        self._lease = lease
        self._caller = caller
        self._clock = clock
        self._timings = timings
        self._under_way: dict[str, _Task] = {}
        self._again = asyncio.Event()
        """A call is over: its attempt's next one may begin."""
        self._swept: float | None = None

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts; what is under way then is ended, and called again by whoever leads next."""
        try:
            await self._tell_missing()
            while not drain.started:
                seen = self._executions.wakes.seen(SCHEDULER)
                self._again.clear()
                try:
                    await self.look()
                    await self._sweep()
                except ControllerError as error:
                    _log.warning("hooks.look_refused", reason=error.reason, error=str(error))
                except Exception:
                    # The top of the loop: the next look reads everything anew.
                    _log.exception("hooks.look_failed")
                # A busy fleet changes all the time.
                await drain.first(drain.wait(), LEAST_PAUSE_SECONDS)
                changed = self._executions.wakes.changed(seen, SCHEDULER)
                await drain.first(_either(changed, self._again.wait()), self._timings.scheduler_interval_seconds)
        finally:
            await self.stop()

    async def _tell_missing(self) -> None:
        """Another controller's machine may have had what the policies name."""
        try:
            policies = await self._executions.store.read(lambda transaction: transaction.policies.policies())
            there = await asyncio.to_thread(self._caller.directory.names)
        except ControllerError as error:
            _log.warning("hooks.not_known", reason=error.reason, error=str(error))
            return
        except Exception:
            # It is told to operators, and nothing waits for it: the calls go on.
            _log.exception("hooks.not_known")
            return
        missing = sorted({name for policy in policies for name in policy.spec.hooks.names} - there)
        if missing:
            _log.error("hooks.missing", hooks=missing, directory=str(self._caller.directory.path))

    async def stop(self) -> None:
        """Ends what is under way."""
        tasks = [each.task for each in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Begins what is due and drops what has no reason any more. Raises Unavailable/NOT_LEADER."""
        leader, now_us = self._lease.current, self._clock.now_us()
        for stage in Stage:
            due = await self._executions.store.read(partial(_due, stage=stage, now_us=now_us))
            vain = [each.call for each in due if step_of(each) is Step.DROP]
            if vain:
                self._give_up(vain)
                await self._executions.store.write(partial(_drop, leader=leader, calls=vain, now_us=now_us))
            for each in due:
                if step_of(each) is Step.CALL:
                    self._begin(each)

    def _give_up(self, calls: Sequence[HookCall]) -> None:
        """Nobody waits any more for what comes before: its attempt was cancelled, or is over. What comes after is never ended: it would
        leave an application half released.
        """
        for call in calls:
            under_way = self._under_way.get(_key(call))
            if call.stage is Stage.BEFORE and under_way is not None and under_way.call_id == call.id:
                under_way.task.cancel()

    def _begin(self, due: DueCall) -> None:
        key, stage = _key(due.call), due.call.stage
        if key in self._under_way:
            return
        if sum(each.stage is stage for each in self._under_way.values()) >= MOST_AT_ONCE[stage]:
            return
        task = asyncio.create_task(self._carry_out(due.call))
        self._under_way[key] = _Task(due.call.id, stage, task)
        task.add_done_callback(lambda _: self._over(key))

    def _over(self, key: str) -> None:
        del self._under_way[key]
        self._again.set()

    async def _carry_out(self, call: HookCall) -> None:
        try:
            found = await self._executions.store.write(lambda transaction: self._begun(transaction, call.id))
            if found is None:
                return
            outcome = await self._caller.call(call.hook, found.message, call.timeout_seconds)
            await self._settle(found.call, outcome)
        except ControllerError as error:
            _log.warning("hook.not_settled", call_id=call.id, reason=error.reason, error=str(error))
        except Exception:
            # The top of a task: the next look finds the call still waiting.
            _log.exception("hook.failed", call_id=call.id, hook=call.hook)

    def _begun(self, transaction: Transaction, call_id: str) -> _Begun | None:
        """None: it is not to be called any more."""
        transaction.leadership.check(self._lease.current)
        now_us = self._clock.now_us()
        due = transaction.hooks.due_call(call_id, now_us)
        if due is None or step_of(due) is Step.DROP:
            return None
        now = begun(due.call, now_us)
        message = _message(transaction, now)
        if message is None or not transaction.hooks.save_call(due.call, now):
            return None
        return _Begun(now, message)

    async def _settle(self, call: HookCall, outcome: Outcome) -> None:
        leader, moment = self._lease.current, Moment(self._clock.now_us(), self._timings)
        after = ended(call, outcome, moment.now_us)
        failure = failure_of(after, outcome)

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            if change.transaction.hooks.save_call(call, after) and call.stage is Stage.BEFORE:
                _tell_attempt(change, after, failure, moment)

        await self._executions.change(closure, schedule=failure is not None)
        log = _log.info if outcome.succeeded else _log.warning
        log(
            "hook.called",
            call_id=call.id,
            hook=call.hook,
            stage=call.stage.value,
            run_id=call.run_id,
            tries=call.tries,
            state=after.state.value,
            outcome=outcome.told,
        )

    async def _sweep(self) -> None:
        """Calls that are over, some at a time."""
        now = self._clock.monotonic_seconds()
        if self._swept is not None and now - self._swept < SWEEP_SECONDS:
            return
        leader, before_us = self._lease.current, self._clock.now_us() - KEPT_US

        def closure(transaction: Transaction) -> int:
            transaction.leadership.check(leader)
            return transaction.hooks.drop_calls(before_us, SWEPT_AT_ONCE)

        while await self._executions.store.write(closure) == SWEPT_AT_ONCE:
            pass
        self._swept = now


def _due(transaction: Transaction, *, stage: Stage, now_us: int) -> Sequence[DueCall]:
    return transaction.hooks.due(stage, now_us, MOST_DUE)


def _key(call: HookCall) -> str:
    """Calls of one key are made one after the other."""
    return call.run_id or f"{call.policy_id}/{call.hook}"


async def _either(*conditions: Coroutine[Any, Any, object]) -> None:
    """Returns once one of them does."""
    tasks = [asyncio.ensure_future(condition) for condition in conditions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _message(transaction: Transaction, call: HookCall) -> Message | None:
    policy = transaction.policies.policy(call.policy_id)
    name = policy.name if policy is not None else ""
    if call.stage is Stage.NOTIFY:
        return notice_message(call, name)
    run, attempt = transaction.runs.run(call.run_id), transaction.runs.attempt(call.attempt_id)
    if run is None or attempt is None:
        return None
    record, host = transaction.repositories.repository(run.repository_id), transaction.fleet.host(attempt.host_id)
    return run_message(
        call,
        run,
        attempt,
        RunNames(name, record.name if record is not None else "", host.name if host is not None else ""),
    )


def _tell_attempt(change: Change, call: HookCall, failure: Failure | None, moment: Moment) -> None:
    """The run of a hook that failed before it ends, or is tried again; where its attempt is over by now, the next one calls for itself."""
    passed = HookPassed() if failure is None else HookRefused(failure, failure.reason == "HOOK_SKIPPED")
    change.take(change.load(call.attempt_id), passed, moment)


def _drop(transaction: Transaction, *, leader: Leader, calls: Sequence[HookCall], now_us: int) -> None:
    transaction.leadership.check(leader)
    for call in calls:
        transaction.hooks.save_call(call, dropped(call, now_us))
