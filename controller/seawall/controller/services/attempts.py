"""The life of an attempt as its agent drives it: accept, fail, complete. No wire types here."""

import random
from dataclasses import replace

import structlog

from seawall.controller.errors import Aborted, FailedPrecondition
from seawall.controller.hooks.decision import holds_back
from seawall.controller.publishing.handin import HandIn
from seawall.controller.publishing.publisher import AttemptKey, Completion, Publisher
from seawall.controller.records.runs import Failure, Progress, RunKind, RunWarning
from seawall.controller.runs.events import Accepted, AgentFailed, HandedOver, Moment, RestoreHandedIn
from seawall.controller.runs.machine import Execution, step
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions, load_owned
from seawall.controller.scheduler.wakes import ENDED
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.grants import BackupAccess, Grants, RestoreAccess
from seawall.controller.services.joining import Joining
from seawall.controller.services.sessions import require_session
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings

_log = structlog.get_logger()


class Attempts:
    """Belongs to one event loop."""

    def __init__(
        self,
        executions: Executions,
        grants: Grants,
        publisher: Publisher,
        blocking: Blocking,
        clock: SteadyClock,
        timings: Timings,
        rng: random.Random,
    ) -> None:
        self._executions = executions
        self._grants = grants
        self._publisher = publisher
        self._blocking = blocking
        self._clock = clock
        self._timings = timings
        self._random = rng
        self._validating: Joining[tuple[AttemptKey, HandIn], Completion] = Joining()

    async def accept(self, key: AttemptKey, session_id: str) -> BackupAccess | RestoreAccess:
        """PREPARING from here. The grant is made first: an attempt whose repository cannot be reached stays ASSIGNED."""
        seen = await self._executions.store.read(lambda transaction: self._acceptable(transaction, key, session_id))
        if seen.run.kind is RunKind.RESTORE:
            restore = await self._blocking.run(lambda: self._grants.restore(seen.run))
            await self._accepted(key, session_id, "")
            return restore
        access = await self._blocking.run(lambda: self._grants.backup(seen.run, key.host_id))
        await self._accepted(key, session_id, access.parent.point_id if access.parent else "")
        return access

    def _acceptable(self, transaction: Transaction, key: AttemptKey, session_id: str) -> Execution:
        before = owned(transaction, key, session_id)
        step(before, Accepted(session_id), self._now())
        _check_hooks(transaction, before)
        return before

    async def _accepted(self, key: AttemptKey, session_id: str, parent_point_id: str) -> None:
        moment = self._now()

        def closure(change: Change) -> None:
            change.take(owned(change.transaction, key, session_id), Accepted(session_id, parent_point_id), moment)

        await self._executions.change(closure)
        _log.info("attempt.accepted", attempt_id=key.attempt_id, host=key.host_id, parent=parent_point_id)

    async def fail(
        self, key: AttemptKey, session_id: str, failure: Failure, canceled: bool, progress: Progress | None
    ) -> None:
        """Raises FailedPrecondition/FENCED, also of an attempt that was handed in: then its worker is told to be gone all the same."""
        moment = self._now()

        def closure(change: Change) -> Execution | FailedPrecondition:
            before = owned(change.transaction, key, session_id)
            try:
                made = change.take(before, AgentFailed(failure, canceled), moment)
            except FailedPrecondition as refused:
                change.take(before, HandedOver(), moment)
                return refused
            _keep(change.transaction, key.attempt_id, progress, moment.now_us)
            return made.after

        after = await self._executions.change(closure)
        if isinstance(after, FailedPrecondition):
            raise after
        _log.info(
            "attempt.failed",
            attempt_id=key.attempt_id,
            run_id=after.run.id,
            host=key.host_id,
            reason=failure.reason,
            run_state=after.run.state.value,
        )

    async def kind_of(self, key: AttemptKey, session_id: str) -> RunKind:
        """What the attempt does; checks session and fence."""
        execution = await self._executions.store.read(lambda transaction: owned(transaction, key, session_id))
        return execution.run.kind

    async def complete_backup(self, key: AttemptKey, hand_in: HandIn) -> Completion:
        """What was handed in is read once, also when it comes again meanwhile: a worker may be cut off before the thread is done."""
        said = replace(hand_in, progress=None)
        completion = await self._validating((key, said), lambda: self._complete(key, said))
        now_us = self._clock.now_us()
        await self._executions.change(
            lambda change: _keep(change.transaction, key.attempt_id, hand_in.progress, now_us)
        )
        return completion

    async def _complete(self, key: AttemptKey, hand_in: HandIn) -> Completion:
        """Goes on although nobody waits for it any more."""
        completion = await self._blocking.run(lambda: self._publisher.complete(key, hand_in))
        self._executions.wakes.notify((ENDED,))  # the publisher's own transaction wakes nobody
        if completion.missing:
            _log.warning("attempt.slots_missing", attempt_id=key.attempt_id, slots=len(completion.missing))
        return completion

    async def complete_restore(
        self, key: AttemptKey, session_id: str, warnings: tuple[RunWarning, ...], vm_id: str, progress: Progress | None
    ) -> str:
        """The id of the point that was restored."""
        moment = self._now()

        def closure(change: Change) -> Execution:
            before = owned(change.transaction, key, session_id)
            twin = _twin(change.transaction, vm_id, key.host_id, moment.now_us)
            made = change.take(before, RestoreHandedIn((*warnings, *twin), vm_id), moment)
            _keep(change.transaction, key.attempt_id, progress, moment.now_us)
            return made.after

        after = await self._executions.change(closure)
        _log.info("restore.done", run_id=after.run.id, attempt_id=key.attempt_id, host=key.host_id, vm_id=vm_id)
        return after.run.point_id

    def _now(self) -> Moment:
        return Moment(self._clock.now_us(), self._timings, self._random.random())


def owned(transaction: Transaction, key: AttemptKey, session_id: str) -> Execution:
    """The attempt that the session's host names. Raises SESSION_UNKNOWN, ATTEMPT_UNKNOWN, NOT_YOUR_ATTEMPT, FENCED."""
    require_session(transaction, key.host_id, session_id)
    return load_owned(transaction, key.host_id, key.attempt_id, key.attempt_no, key.db_epoch)


def _check_hooks(transaction: Transaction, execution: Execution) -> None:
    """The host waits until what its policy calls before it is done. Raises Aborted/HOOK_RUNNING: also older agents ask again then."""
    if not execution.run.policy_id:
        return
    waits = holds_back(transaction.hooks.calls_of([execution.run.id]), execution.attempt.id)
    if waits is not None:
        raise Aborted("HOOK_RUNNING", f"the hook {waits.hook} before this backup")


def _twin(transaction: Transaction, vm_id: str, host_id: str, now_us: int) -> tuple[RunWarning, ...]:
    """A warning when another host, as far as is known, still has the VM that was restored under its own identity."""
    vm = transaction.fleet.vm(vm_id) if vm_id else None
    if vm is None or not vm.present or vm.host_id == host_id:
        return ()
    session, host = transaction.fleet.session(vm.host_id), transaction.fleet.host(vm.host_id)
    if host is None or session is None or session.lease_until_us <= now_us:
        return ()
    message = (
        f"{host.name} had this VM too when it last reported ({vm.state}), with the same UUID and MAC addresses: never let both run. "
        "Undefine one of them; `--new-identity` or `--as NAME` restores a second VM beside the first."
    )
    return (RunWarning("VM_ALSO_ELSEWHERE", message),)


def _keep(transaction: Transaction, attempt_id: str, progress: Progress | None, now_us: int) -> None:
    if progress is not None:
        transaction.runs.save_progress(attempt_id, progress, now_us)
