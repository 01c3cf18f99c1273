"""The shell around the state machine: reads a run with an attempt, stores what the machine made of them, does what it says."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from seawall.controller.admission.breakers import note_end
from seawall.controller.errors import FailedPrecondition, NotFound, PermissionDenied
from seawall.controller.hooks.decision import calls_around
from seawall.controller.records.runs import Attempt, Run
from seawall.controller.runs import ready
from seawall.controller.runs.events import Event, Moment
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.machine import Execution, Step, step
from seawall.controller.scheduler.wakes import ENDED, SCHEDULER, Wakes
from seawall.controller.store.transaction import Store, Transaction

T = TypeVar("T")


class Change:
    """One transaction in which executions move. `woken` gathers who is told once it is committed; some tell nobody."""

    def __init__(self, transaction: Transaction, woken: set[str] | None = None) -> None:
        self.transaction = transaction
        self._woken = set() if woken is None else woken

    def load(self, attempt_id: str) -> Execution:
        return load(self.transaction, attempt_id)

    def of_run(self, run: Run) -> Execution | None:
        """The run with its present attempt."""
        return self.load(run.current_attempt) if run.current_attempt else None

    def take(self, before: Execution, event: Event, moment: Moment) -> Step:
        """The machine's step, stored and carried out; run and attempt as they are now. Raises what the machine raises."""
        made = step(before, event, moment)
        saved = Execution(
            self.transaction.runs.save_run(before.run, made.after.run),
            self.transaction.runs.save_attempt(before.attempt, made.after.attempt),
        )
        self._carry_out(saved, made.instructions)
        return Step(saved, made.instructions)

    def start(self, before: Run, attempt_id: str, host_id: str, db_epoch: int, moment: Moment) -> Execution:
        """A READY run's next attempt, with what its policy calls around it."""
        policy = self.transaction.policies.policy(before.policy_id) if before.policy_id else None
        run, attempt = ready.assigned(before, attempt_id, host_id, db_epoch, moment)
        saved = self.transaction.runs.save_run(before, run)
        self.transaction.runs.add_attempt(attempt)
        if policy is not None:
            self.transaction.hooks.add_calls(calls_around(policy, attempt))
        self.wake_host(host_id)
        return Execution(saved, attempt)

    def save_ready(self, before: Run, after: Run) -> Run:
        """What was decided about a run without an attempt."""
        saved = self.transaction.runs.save_run(before, after)
        if saved.state.over:
            self._woken.add(ENDED)
        return saved

    def _carry_out(self, saved: Execution, instructions: frozenset[Instruction]) -> None:
        if Instruction.WAKE_HOST in instructions:
            self.wake_host(saved.attempt.host_id)
        if Instruction.COUNT_END in instructions:
            note_end(self.transaction, saved)
        if Instruction.TELL_WATCHERS in instructions:
            self._woken.add(ENDED)
        if Instruction.DROP_POINT in instructions:
            self.transaction.points.give_up(saved.run.point_id)

    def wake_host(self, host_id: str) -> None:
        """Its poll is answered, with a new generation."""
        self.transaction.fleet.bump_generation(host_id)
        self._woken.add(host_id)


class Executions:
    """Runs changes and tells who waits."""

    def __init__(self, store: Store, wakes: Wakes) -> None:
        self.store = store
        self.wakes = wakes

    async def change(self, closure: Callable[[Change], T], *, schedule: bool = True) -> T:
        """The closure in one write transaction; pure but for its `Change`. `schedule`: the scheduler has reason to look at it at once."""
        woken: set[str] = set()
        result = await self.store.write(lambda transaction: closure(Change(transaction, woken)))
        self.wakes.notify((*woken, SCHEDULER) if schedule else woken)
        return result


def load(transaction: Transaction, attempt_id: str) -> Execution:
    """Raises NotFound/ATTEMPT_UNKNOWN."""
    attempt = transaction.runs.attempt(attempt_id)
    run = transaction.runs.run(attempt.run_id) if attempt else None
    if attempt is None or run is None:
        raise NotFound("ATTEMPT_UNKNOWN", f"There is no attempt {attempt_id}; clean up.")
    return Execution(run, attempt)


def of_attempts(transaction: Transaction, attempts: Sequence[Attempt]) -> list[Execution]:
    """The attempts with their runs, which are read at once."""
    runs = {run.id: run for run in transaction.runs.runs_of([attempt.run_id for attempt in attempts])}
    return [Execution(runs[attempt.run_id], attempt) for attempt in attempts if attempt.run_id in runs]


def load_owned(transaction: Transaction, host_id: str, attempt_id: str, no: int, db_epoch: int) -> Execution:
    """The attempt that a host names, checked against its fence.

    Raises NotFound/ATTEMPT_UNKNOWN, PermissionDenied/NOT_YOUR_ATTEMPT, FailedPrecondition/FENCED (another number, an older database epoch).
    """
    execution = load(transaction, attempt_id)
    attempt = execution.attempt
    if attempt.host_id != host_id:
        raise PermissionDenied("NOT_YOUR_ATTEMPT", f"Attempt {attempt_id} belongs to another host.")
    if (attempt.no, attempt.db_epoch) != (no, db_epoch) or attempt.db_epoch != transaction.leadership.db_epoch():
        raise FailedPrecondition(
            "FENCED", f"Attempt {attempt_id} is from before a roll-back of the database; clean up."
        )
    return execution
