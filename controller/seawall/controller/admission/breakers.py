"""Keeps the circuit breakers: called in each transaction in which an attempt ends, or is handed over to a store that is away."""

from seawall.controller.admission.breaker import after_attempt, one_more
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


def _breaker(transaction: Transaction, where: ScopeKey) -> Breaker:
    return transaction.limits.breaker(where) or Breaker(where.scope, where.key, 0, 0, "", "")
