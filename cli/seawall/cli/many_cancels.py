"""Runs to be canceled: the plan as text or JSON, the question, the order in portions, what came of each. For `run cancel`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.confirming import confirm
from seawall.cli.connection import DEADLINE_SECONDS, Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.run_text import run_rows
from seawall.cli.sending_again import sent_again
from seawall.cli.text import count
from seawall.cli.watch import MANY, OVER, Ended
from seawall.repository.batches import in_batches
from seawall.repository.clock import SystemClock, datetime_of

PORTION = 1000
"""Runs of one request: some seconds on the slowest controller."""
PAGE = 500
SHOWN = 50
"""Runs that are told one by one."""


@dataclass(slots=True)
class Outcomes:
    """Ids of runs by what came of them, or by what would."""

    canceled: list[str] = field(default_factory=list)
    stopping: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)

    def take(self, told: Iterable[operator_pb2.CanceledRun]) -> None:
        lists = {
            operator_pb2.CANCEL_OUTCOME_CANCELED: self.canceled,
            operator_pb2.CANCEL_OUTCOME_STOPPING: self.stopping,
            operator_pb2.CANCEL_OUTCOME_UNDER_WAY: self.under_way,
        }
        for each in told:
            lists.get(each.outcome, self.over).append(each.run_id)

    @property
    def going(self) -> int:
        return len(self.canceled) + len(self.stopping)


def cancel_one(controller: Controller, output: Output, run: str) -> None:
    """As controllers do that know no orders of many; told as one of many. Raises CommandError; Ended where it was over before."""
    request = operator_pb2.CancelRunRequest(request_id=new_request_id(), run=run)
    try:
        found = controller.call(controller.backup.CancelRun, request).run
    except CommandError as error:
        if error.reason != "RUN_OVER":
            raise
        over = controller.call(controller.backup.GetRun, operator_pb2.GetRunRequest(run=run)).run
        _tell(output, Outcomes(over=[over.run_id]))
        raise Ended(Exit.REFUSED) from error
    done = found.state == resources_pb2.RUN_STATE_CANCELED
    _tell(output, Outcomes(canceled=[found.run_id]) if done else Outcomes(stopping=[found.run_id]))


def cancel_named(
    controller: Controller, output: Output, runs: Sequence[str], *, waiting_only: bool, plan_only: bool
) -> None:
    """Who names runs is not asked whether these are meant. Raises CommandError; Ended where one of them was over before."""
    if plan_only:
        asked = [operator_pb2.CancelRunsRequest(runs=some, plan_only=True) for some in in_batches(runs, PORTION)]
        return _tell_plan(output, _planned(controller, asked), waiting_only=waiting_only)
    outcomes = _order(controller, output, runs, waiting_only=waiting_only)
    _tell(output, outcomes)
    if outcomes.over:
        raise Ended(Exit.REFUSED)


def cancel_fitting(
    controller: Controller, output: Output, wanted: operator_pb2.CancelRunsRequest, *, plan_only: bool, confirmed: bool
) -> None:
    """Show which runs fit, ask, cancel those and no others. `wanted`: the filter alone. Raises CommandError."""
    asked = operator_pb2.CancelRunsRequest(plan_only=True, page_size=PAGE)
    asked.MergeFrom(wanted)
    planned = _planned(controller, [asked])
    if plan_only or not planned:
        return _tell_plan(output, planned, waiting_only=wanted.waiting_only, plan_only=plan_only)
    if not output.as_json:
        _print_plan(output, planned)
    if not confirmed:
        runs = count(len(planned), "run")
        confirm(output, f"Cancel {runs}?", f"{runs} would be canceled.", refused="Nothing was canceled.")
    _tell(output, _order(controller, output, [run.run_id for run in planned], waiting_only=wanted.waiting_only))


def document(outcomes: Outcomes, *, plan_only: bool = False) -> dict[str, object]:
    """For --json."""
    return {"plan_only": plan_only, **asdict(outcomes)}


def _planned(controller: Controller, requests: Iterable[operator_pb2.CancelRunsRequest]) -> list[resources_pb2.Run]:
    """Each once, as they are now."""
    found: dict[str, resources_pb2.Run] = {}
    for request in requests:
        for answer in controller.answers(controller.backup.CancelRuns, request):
            found |= {run.run_id: run for run in answer.runs}
    return list(found.values())


def _order(controller: Controller, output: Output, runs: Sequence[str], *, waiting_only: bool) -> Outcomes:
    outcomes, sent = Outcomes(), 0
    if len(runs) > PORTION:
        # A name that nobody knows ends the order before any run is canceled, not in the middle.
        _planned(
            controller,
            [operator_pb2.CancelRunsRequest(runs=some, plan_only=True) for some in in_batches(runs, PORTION)],
        )
    for some in in_batches(runs, PORTION):
        request = operator_pb2.CancelRunsRequest(request_id=new_request_id(), runs=some, waiting_only=waiting_only)
        try:
            answer = sent_again(
                controller,
                output,
                controller.backup.CancelRuns,
                request,
                "a run is canceled once, however often that is said",
                DEADLINE_SECONDS,
            )
        except CommandError as error:
            raise _broken_off(error, outcomes) from error
        outcomes.take(answer.outcomes)
        sent += len(some)
        if sent < len(runs):
            output.note(f"{sent} of {count(len(runs), 'run')} done.")
    return outcomes


def _broken_off(error: CommandError, outcomes: Outcomes) -> CommandError:
    if not outcomes.going:
        return error
    told = f"{error} Canceled before that: {count(outcomes.going, 'run')}; repeat the command for the others."
    return CommandError(error.code, error.reason, told)


def foreseen(runs: Iterable[resources_pb2.Run], *, waiting_only: bool) -> Outcomes:
    """What would come of them as they are now."""
    outcomes = Outcomes()
    for run in runs:
        if run.state in OVER:
            outcomes.over.append(run.run_id)
        elif run.state == resources_pb2.RUN_STATE_READY:
            outcomes.canceled.append(run.run_id)
        else:
            (outcomes.under_way if waiting_only else outcomes.stopping).append(run.run_id)
    return outcomes


def _tell_plan(
    output: Output, planned: Sequence[resources_pb2.Run], *, waiting_only: bool, plan_only: bool = True
) -> None:
    outcomes = foreseen(planned, waiting_only=waiting_only)
    if output.as_json:
        shown: dict[str, object] = {"runs": list(planned)} if len(planned) <= MANY else {}
        return output.json(document(outcomes, plan_only=plan_only) | shown)
    going = {*outcomes.canceled, *outcomes.stopping}
    _print_plan(output, [run for run in planned if run.run_id in going])
    _print_left(output, outcomes)


def _print_plan(output: Output, going: Sequence[resources_pb2.Run]) -> None:
    """The first of them in a table, then how many they are and how many of them are being worked on."""
    output.table(*run_rows(going[:SHOWN], datetime_of(SystemClock().now_us())), "No open runs there.")
    if len(going) > SHOWN:
        output.line(f"… and {len(going) - SHOWN} more.")
    if going:
        active = sum(run.state == resources_pb2.RUN_STATE_ACTIVE for run in going)
        restores = sum(run.kind == resources_pb2.RUN_KIND_RESTORE for run in going)
        among = f" {count(restores, 'restore')} among them." if restores else ""
        output.line(
            f"\n{count(len(going), 'run')} to cancel: {active} under way, {len(going) - active} waiting.{among}"
        )


def _tell(output: Output, outcomes: Outcomes) -> None:
    if output.as_json:
        return output.json(document(outcomes))
    _print_outcomes(output, outcomes)


def _print_outcomes(output: Output, outcomes: Outcomes) -> None:
    if outcomes.going <= SHOWN:
        for run_id in outcomes.canceled:
            output.line(f"Run {run_id} is canceled.")
        for run_id in outcomes.stopping:
            output.line(f"Run {run_id} will be canceled.")
    else:
        done = [f"{count(len(outcomes.canceled), 'run')} canceled"] if outcomes.canceled else []
        if outcomes.stopping:
            done.append(f"{count(len(outcomes.stopping), 'run')} will be, as soon as their workers stopped")
        output.line(f"{'; '.join(done)}.", style="bold")
    _print_left(output, outcomes)


def _print_left(output: Output, outcomes: Outcomes) -> None:
    for ids, what in ((outcomes.over, "over already"), (outcomes.under_way, "under way and left alone")):
        if len(ids) > SHOWN:
            output.line(f"{len(ids)} runs are {what}.", style="yellow")
            continue
        for run_id in ids:
            output.line(f"Run {run_id} is {what}.", style="yellow")
