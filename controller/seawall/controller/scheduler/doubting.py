"""Waits that a leader with a wrong clock left behind, looked for when another one begins to lead. Called by the scheduler's step."""

from collections.abc import Sequence
from functools import partial

import structlog

from seawall.controller.records.runs import Run, RunFilter, RunState
from seawall.controller.runs.events import Moment
from seawall.controller.runs.ready import believed
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US
from seawall.repository.batches import in_batches

PAGE = 500
SLICE = 200
_WAITING = RunFilter(states=(RunState.READY,))

_log = structlog.get_logger()


async def doubt_waits(executions: Executions, lease: LeaderLease, moment: Moment) -> None:
    """Bring forward what waits for longer than it can have to (`ready.believed`). Raises Unavailable/NOT_LEADER."""
    leader, doubted, before = lease.current, list[str](), ""
    while page := await executions.store.read(partial(_page, before=before)):
        doubted += [run.id for run in page if believed(run, moment) is not run]
        before = page[-1].id
    for some in in_batches(doubted, SLICE):

        def closure(change: Change, some: Sequence[str] = some) -> list[tuple[Run, Run]]:
            change.transaction.leadership.check(leader)
            found = [(run, believed(run, moment)) for run in change.transaction.runs.runs_of(some)]
            return [(run, change.save_ready(run, after)) for run, after in found]

        for run, after in await executions.change(closure):
            seconds = round((run.not_before_us - after.not_before_us) / SECOND_US)
            _log.warning("run.wait_not_believed", run_id=run.id, sooner_seconds=seconds)


def _page(transaction: Transaction, before: str) -> Sequence[Run]:
    return transaction.runs.runs(_WAITING, before=before, limit=PAGE)
