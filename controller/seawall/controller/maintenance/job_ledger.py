"""What every ledger of a job has: transactions of its repository in the leader's name, and whether the job is to go on. Blocking."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import JobState
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.collecting.port import LedgerBusy, LedgerRefused
from seawall.repository.forgetting.leaders import NOBODY, LeaderMark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LedgerScope:
    """Whose ledger. `job_id`: the job whose cancellation counts; "" for none. `grace_us`: for how long condemned packs are kept.

    `announced`: how this leader announced itself in the repository's bucket.
    """

    repository_id: str
    job_id: str
    grace_us: int
    announced: LeaderMark = NOBODY


class JobLedger:
    """Thread-safe."""

    def __init__(self, store: Store, scope: LedgerScope, leader: Callable[[], Leader]) -> None:
        self._store = store
        self._scope = scope
        self._leader = leader

    def may_continue(self) -> None:
        def closure(transaction: Transaction) -> bool:
            transaction.leadership.check(self._leader())
            job = transaction.jobs.job(self._scope.job_id)
            return job is None or (job.state is JobState.ACTIVE and not job.cancel_us)

        if not self._read(closure):
            raise LedgerRefused("CANCELED", "The job was cancelled.")

    def _read(self, closure: Callable[[Transaction], T]) -> T:
        with told():
            return self._store.read_now(closure)

    def _write(self, closure: Callable[[Transaction], T]) -> T:
        with told():
            return self._store.write_now(closure)


@contextmanager
def told() -> Iterator[None]:
    """The controller's errors in the ledger's words."""
    try:
        yield
    except Unavailable as error:
        if error.reason == "NOT_LEADER":
            raise LedgerRefused(error.reason, str(error)) from error
        raise LedgerBusy(str(error)) from error
    except ControllerError as error:
        raise LedgerRefused(error.reason, str(error)) from error
