"""The shell around the state machine: reads a run with an attempt, stores what the machine made of them, wakes their host."""

from collections.abc import Callable
from typing import TypeVar

from seawall.controller.admission.breakers import note_end
from seawall.controller.errors import FailedPrecondition, NotFound, PermissionDenied
from seawall.controller.records.runs import Run
from seawall.controller.runs.machine import Execution, wanted
from seawall.controller.scheduler.wakes import ENDED, SCHEDULER, Wakes
from seawall.controller.store import Store, Transaction

T = TypeVar("T")


class Change:
    """One transaction in which executions move. Generations of their hosts grow where their desired sets change."""

    def __init__(self, transaction: Transaction, woken: set[str]) -> None:
        self.transaction = transaction
        self._woken = woken

    def load(self, attempt_id: str) -> Execution:
        return load(self.transaction, attempt_id)

    def of_run(self, run: Run) -> Execution | None:
        """The run with its present attempt."""
        return self.load(run.current_attempt) if run.current_attempt else None

    def save(self, before: Execution, after: Execution) -> Execution:
        saved = Execution(
            self.transaction.runs.save_run(before.run, after.run),
            self.transaction.runs.save_attempt(before.attempt, after.attempt),
        )
        if wanted(before) != wanted(saved):
            self._wake(after.attempt.host_id)
        if before.attempt.state.live and not saved.attempt.state.live:
            note_end(self.transaction, saved)
        if saved.run.state.over:
            self._woken.add(ENDED)
        return saved

    def start(self, before: Run, after: Execution) -> Execution:
        """Stores a first sight of an attempt, just assigned."""
        run = self.transaction.runs.save_run(before, after.run)
        self.transaction.runs.add_attempt(after.attempt)
        self._wake(after.attempt.host_id)
        return Execution(run, after.attempt)

    def _wake(self, host_id: str) -> None:
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
