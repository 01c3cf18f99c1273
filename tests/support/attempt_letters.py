"""One letter for each state of an attempt, for tables of what becomes of what."""

from seawall.controller.records.runs import AttemptState

A, P, X, U, L = (
    AttemptState.ASSIGNED,
    AttemptState.PREPARING,
    AttemptState.TRANSFERRING,
    AttemptState.PUBLISHING,
    AttemptState.LOST,
)
S, F, C, E, B = (
    AttemptState.SUCCEEDED,
    AttemptState.FAILED,
    AttemptState.CANCELED,
    AttemptState.EXPIRED,
    AttemptState.ABANDONED,
)
