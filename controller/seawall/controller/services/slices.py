"""Orders of many (`many_backups.py`, `many_cancels.py`): a slice is one transaction, and has an answer of its own."""

from collections.abc import Callable

from seawall.controller.records.answers import Asked
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.services.once import Once

SLICE = 200
"""Runs a transaction, as when a policy fires."""


async def carried_out(executions: Executions, once: Once, asked: Asked, act: Callable[[Change], str], part: int) -> str:
    """The answer to this slice of a request: what `act` says, or what it said when it was asked before."""
    # The scheduler looks after the first slice, and after the last when it is told: woken by each, it would take as much time as they do.
    return await executions.change(
        lambda change: once.within(change.transaction, asked, lambda: act(change), part), schedule=not part
    )
