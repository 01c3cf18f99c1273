"""Keeps the circuit breakers: called in each transaction in which an attempt ends."""

from seawall.controller.admission.breaker import after_attempt
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
        before = transaction.limits.breaker(where) or Breaker(where.scope, where.key, 0, 0, "", "")
        after = after_attempt(before, attempt)
        if after != before and (after.failures or before.failures):
            transaction.limits.save_breaker(after)
