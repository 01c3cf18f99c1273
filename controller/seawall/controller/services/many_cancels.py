"""Cancellations, however many: planned page by page, then ordered by id, a slice a transaction, as backups are (`many_backups.py`).

What is canceled is what was planned: a run that begins to fit the filter in between was shown to nobody.
"""

import json
from collections.abc import Sequence

from seawall.api.v1 import operator_pb2
from seawall.controller.errors import InvalidArgument, NotFound
from seawall.controller.records.answers import Asked
from seawall.controller.records.runs import OPEN_RUN_STATES, Run, RunFilter, RunState
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.wakes import SCHEDULER
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.naming import find_host, find_policy_of_runs, find_runs, find_vm
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.orders import Canceled, Orders
from seawall.controller.services.paging import cut, fit, page_size, start_of
from seawall.controller.services.slices import SLICE, carried_out
from seawall.controller.services.views import run_views
from seawall.controller.store.transaction import Transaction
from seawall.repository.batches import in_batches

MOST_RUNS = 1000

_Outcome = tuple[str, str]
"""Run id, what came of it: what is remembered of a slice."""


class ManyCancels:
    """Belongs to one event loop. See CancelRuns in operator.proto."""

    def __init__(self, executions: Executions, once: Once, orders: Orders) -> None:
        self._executions = executions
        self._once = once
        self._orders = orders

    async def cancel(self, request: operator_pb2.CancelRunsRequest) -> operator_pb2.CancelRunsResponse:
        _check_request(request)
        if request.plan_only:
            return await self._executions.store.read(
                lambda transaction: _planned(transaction, request, self._orders.clock)
            )
        asked, slices = asked_by(request), list(in_batches(request.runs, SLICE))
        await self._executions.store.read(lambda transaction: self._check(transaction, asked, slices))
        outcomes: dict[str, str] = {}
        for part, some in enumerate(slices):

            def act(change: Change, some: Sequence[str] = some) -> str:
                left = _left(change.transaction, some)
                runs = list(left.values())
                done = self._orders.cancel_those_that_can(change, runs, waiting_only=request.waiting_only)
                came = {text: (run.id, each.name) for (text, run), each in zip(left.items(), done, strict=True)}
                return json.dumps([came.get(text, (text, Canceled.OVER.name)) for text in some])

            told: list[_Outcome] = json.loads(await carried_out(self._executions, self._once, asked, act, part))
            for run_id, came in told:
                outcomes.setdefault(run_id, came)  # named twice, it is over the second time
        self._executions.wakes.notify((SCHEDULER,))
        return operator_pb2.CancelRunsResponse(outcomes=[_message(*each) for each in outcomes.items()])

    def _check(self, transaction: Transaction, asked: Asked, slices: Sequence[Sequence[str]]) -> None:
        """All are there, or nothing happens; an order that was begun was checked then. Raises NotFound/RUN_UNKNOWN."""
        if self._once.known(transaction, asked) is None:
            for some in slices:
                find_runs(transaction, some)


def _left(transaction: Transaction, texts: Sequence[str]) -> dict[str, Run]:
    """By how they are named; without those that are forgotten since the order was checked: only what is over is."""
    try:
        return dict(zip(texts, find_runs(transaction, texts), strict=True))
    except NotFound:
        if len(texts) == 1:
            return {}
    return {text: run for each in texts for text, run in _left(transaction, [each]).items()}


def _planned(
    transaction: Transaction, request: operator_pb2.CancelRunsRequest, clock: SteadyClock
) -> operator_pb2.CancelRunsResponse:
    """Runs as they are now: of those that are named also what is over."""
    if request.runs:
        named = {run.id: run for run in find_runs(transaction, request.runs)}
        return _page(transaction, list(named.values()), "", clock)
    size, before = page_size(request.page_size), start_of(request.page_token)
    page, token = cut(transaction.runs.runs(_filter(transaction, request), before=before, limit=size + 1), size)
    if request.host:
        page = on_host(transaction, page, find_host(transaction, request.host).id)
    return _page(transaction, page, token, clock)


def _page(
    transaction: Transaction, runs: Sequence[Run], token: str, clock: SteadyClock
) -> operator_pb2.CancelRunsResponse:
    views = run_views(transaction, runs, clock.now_us(), listening_us=clock.started_us)
    shown, token = fit(runs, [run_message(view) for view in views], token)
    return operator_pb2.CancelRunsResponse(runs=shown, next_page_token=token)


def _filter(transaction: Transaction, request: operator_pb2.CancelRunsRequest) -> RunFilter:
    """But for the host. Raises what `find_vm` and `find_policy_of_runs` do."""
    return RunFilter(
        find_vm(transaction, request.vm).id if request.vm else "",
        find_policy_of_runs(transaction, request.policy).id if request.policy else "",
        (RunState.READY,) if request.waiting_only else OPEN_RUN_STATES,
    )


def on_host(transaction: Transaction, runs: Sequence[Run], host_id: str) -> list[Run]:
    """Those of the open runs that are under way on the host, or would be once they began."""
    active = [run.current_attempt for run in runs if run.state is RunState.ACTIVE]
    places = {attempt.run_id: attempt.host_id for attempt in transaction.runs.attempts_by_id(active)}
    waiting = [run for run in runs if run.state is RunState.READY]
    places |= {run.id: run.restore.host_id for run in waiting if run.restore is not None}
    hosts = {vm.id: vm.host_id for vm in transaction.fleet.vms_of([run.vm_id for run in waiting if not run.restore])}
    places |= {run.id: hosts[run.vm_id] for run in waiting if run.restore is None and run.vm_id in hosts}
    return [run for run in runs if places.get(run.id) == host_id]


def _check_request(request: operator_pb2.CancelRunsRequest) -> None:
    narrowed = bool(request.policy or request.vm or request.host)
    filtered = narrowed or request.all_runs
    if not request.runs and not filtered:
        raise InvalidArgument("NO_RUNS", "Say which runs: name some, or say whose, or all.")
    if (request.runs and filtered) or (request.all_runs and narrowed):
        raise InvalidArgument("BAD_FILTER", "Runs that are named, those of a policy, VM or host, or all: one of them.")
    if len(request.runs) > MOST_RUNS:
        raise InvalidArgument("TOO_MANY_RUNS", f"At most {MOST_RUNS} runs at once; these are {len(request.runs)}.")
    if filtered and not request.plan_only:
        raise InvalidArgument("NOT_PLANNED", "Ask for a plan first; then name the runs of it that are to be canceled.")


def _message(run_id: str, came: str) -> operator_pb2.CanceledRun:
    return operator_pb2.CanceledRun(run_id=run_id, outcome=operator_pb2.CancelOutcome.Value(f"CANCEL_OUTCOME_{came}"))
