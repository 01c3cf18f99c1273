"""Keeps the circuit breakers: called in each transaction in which an attempt ends, is handed over to a store that is away, stores a pack,
or reports that it got further."""

from functools import cached_property

from seawall.controller.admission.breaker import FAILURES, after_attempt, closed, one_more
from seawall.controller.admission.proofs import Proof, refutes
from seawall.controller.errors import ControllerError
from seawall.controller.records.limits import Breaker, Scope, ScopeKey
from seawall.controller.runs.machine import Execution
from seawall.controller.store.transaction import Transaction


def note_end(transaction: Transaction, execution: Execution) -> None:
    """The attempt is over: its host and its repository have one failure more, or none any more, or nothing changed."""
    attempt = execution.attempt
    for where in (
        ScopeKey(Scope.HOST, attempt.host_id),
        ScopeKey(Scope.REPOSITORY, execution.run.repository_id),
    ):
        before = _breaker(transaction, where)
        after = after_attempt(before, attempt)
        if after != before and (after.failures or before.failures):
            transaction.limits.save_breaker(after)


def note_handed_over(transaction: Transaction, repository_id: str, error: ControllerError, now_us: int) -> None:
    """The repository has one failure more: the attempt that tries a store holds no place any more, and would let the next one begin."""
    before = _breaker(transaction, ScopeKey(Scope.REPOSITORY, repository_id))
    transaction.limits.save_breaker(one_more(before, error.reason, str(error), now_us))


class Proofs:
    """Of one transaction, in which many attempts may show something: the few breakers that keep anybody waiting are read once, and nothing
    is written while there are none."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def note(self, execution: Execution, proof: Proof) -> None:
        """Closes those of its host and its repository that this refutes. What an attempt shows that began before the last failure may be
        older than that: it refutes nothing.
        """
        for where in (
            ScopeKey(Scope.HOST, execution.attempt.host_id),
            ScopeKey(Scope.REPOSITORY, execution.run.repository_id),
        ):
            breaker = self._open.get(where)
            if breaker is not None and execution.attempt.created_us > breaker.last_us and refutes(proof, breaker):
                self._transaction.limits.save_breaker(closed(breaker))
                del self._open[where]

    @cached_property
    def _open(self) -> dict[ScopeKey, Breaker]:
        found = self._transaction.limits.breakers()
        return {ScopeKey(each.scope, each.key): each for each in found if each.failures >= FAILURES}


def _breaker(transaction: Transaction, where: ScopeKey) -> Breaker:
    return transaction.limits.breaker(where) or Breaker(where.scope, where.key, 0, 0, "", "")
