"""`seawall run`: what was asked for, what it is doing, what became of it."""

from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from seawall.api.v1 import limits_pb2, operator_pb2, resources_pb2
from seawall.cli.completion import host_names, open_run_ids, policy_names, run_ids, vm_names
from seawall.cli.confirming import YesOption
from seawall.cli.exits import CommandError, Exit
from seawall.cli.explain_text import print_explanation
from seawall.cli.many_cancels import cancel_fitting, cancel_named, cancel_one
from seawall.cli.numbers import number_option
from seawall.cli.run_text import print_run, run_rows
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import parse_duration
from seawall.cli.watch import finish
from seawall.cli.watch_all import watch_all
from seawall.cli.watch_many import follow_any
from seawall.repository.clock import SystemClock, datetime_of

app = typer.Typer(name="run", no_args_is_help=True, help="Runs: backups and restores that were asked for.")

_RUN = "The run's id, or enough of its first digits to be unique (8 at least)."
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=_RUN, autocompletion=run_ids)]


class ListedState(StrEnum):
    """As `run list` shows them."""

    READY = "ready"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_WARNINGS = "succeeded-with-warnings"
    FAILED = "failed"
    CANCELED = "canceled"
    MISSED = "missed"
    SKIPPED = "skipped"


@app.command("list")
def list_runs(
    vm: Annotated[str, typer.Option(help="Only runs of this VM.", autocompletion=vm_names)] = "",
    open_only: Annotated[bool, typer.Option("--open", help="Only runs that are not over.")] = False,
    state: Annotated[
        list[ListedState] | None, typer.Option(help="Only runs in this state; may be given again.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Only what this policy fired.", autocompletion=policy_names)] = "",
    within: Annotated[str, typer.Option(metavar="TIME", help="Only what is open or ended within 30m, 12h, 7d.")] = "",
    limit: Annotated[int, number_option(least=1, help="At most this many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first.

    Example: seawall run list --state failed --within 24h
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ListRunsRequest(
            vm=vm,
            open_only=open_only,
            states=[resources_pb2.RunState.Value(f"RUN_STATE_{one.name}") for one in state or ()],
            policy=policy,
            within=_within(within),
            page_size=min(limit, 500),
        )
        runs = controller.pages(controller.backup.ListRuns, request, "runs", limit)
        if as_json:
            return output.json({"runs": runs})
        output.table(*run_rows(runs, datetime_of(SystemClock().now_us())), "No runs.")


def _within(text: str) -> Duration | None:
    if not text:
        return None
    found = Duration()
    try:
        found.FromTimedelta(parse_duration(text))
    except ValueError as error:
        raise CommandError(
            Exit.USAGE, "BAD_TIME", f"--within {text!r} is not a duration such as 30m, 12h or 7d."
        ) from error
    return found


@app.command("show")
def show_run(run: RunArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one run with its attempts."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.backup.GetRun, operator_pb2.GetRunRequest(run=run)).run
        if as_json:
            return output.json(found)
        print_run(output, found)


@app.command("explain")
def explain_run(run: RunArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say why a run waits and who has what it waits for, how its disks are read and why not better, and what would help."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.limits.ExplainRun, limits_pb2.ExplainRunRequest(run=run))
        if as_json:
            return output.json(found)
        print_explanation(output, found, datetime_of(SystemClock().now_us()))


@app.command("watch")
def watch_run(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs to watch; none: all that are open.", autocompletion=open_run_ids),
    ] = None,
    vm: Annotated[str, typer.Option(help="Instead of runs: all of this VM.", autocompletion=vm_names)] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow runs until they are over; live bars on a terminal. Ends like `backup --wait`:
    0 when all succeeded, 1 when one failed, 8 when one was canceled. Ctrl-C leaves the runs alone.

    Without RUN: everything that is under way, waits or ends, on one screen, until Ctrl-C; with --json one run a line, at each change.
    """
    with session(config, as_json) as (controller, output):
        if runs and vm:
            raise CommandError(Exit.USAGE, "USAGE", "Give runs or --vm, not both.")
        if not runs:
            return watch_all(controller, output, vm)
        found = [controller.call(controller.backup.GetRun, operator_pb2.GetRunRequest(run=run)).run for run in runs]
        finish(output, follow_any(controller, output, [run.run_id for run in found], found))


@app.command("cancel")
def cancel_run(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN", help=_RUN, autocompletion=open_run_ids)] = None,
    policy: Annotated[
        str, typer.Option(help="Instead of runs: what this policy fired.", autocompletion=policy_names)
    ] = "",
    vm: Annotated[
        str, typer.Option(help="Instead of runs: those of this VM, restores too.", autocompletion=vm_names)
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            help="Instead of runs: what this host is working on, and what waits for it, restores too.",
            autocompletion=host_names,
        ),
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Instead of runs: all that are open, restores too.")] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only what waits; leave alone what a host is working on.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Show which runs it would be; cancel nothing.")
    ] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel runs that are named, or those that fit all of --policy, --vm, --host and --waiting.

    What fits is shown and asked about first, and nothing else is canceled. A run that waits is over at once, another one once its worker
    has cleaned up, 60 s at most. Ends with 5 where a run that was named was over already; the others are canceled.

    --json: {"plan_only": false, "canceled": [], "stopping": [], "over": [], "under_way": []}, the ids of runs by what came of them; with
    --plan also "runs" where they are few.

    Example: seawall run cancel --policy nightly --waiting
    """
    narrowed = bool(policy or vm or host)
    if (runs and (narrowed or every)) or (every and narrowed):
        raise typer.BadParameter("Name runs, or narrow them by --policy, --vm and --host, or say --all: one of these.")
    if not (runs or narrowed or every):
        # Nor does --waiting alone: names that a script's empty variable did not give must not widen it to everything.
        raise typer.BadParameter(
            "Missing argument RUN: name some, or say whose, or --all (--all --waiting: all that wait)."
        )
    with session(config, as_json) as (controller, output):
        if runs and len(runs) == 1 and not (waiting or plan):
            return cancel_one(controller, output, runs[0])
        if runs:
            return cancel_named(controller, output, runs, waiting_only=waiting, plan_only=plan)
        wanted = operator_pb2.CancelRunsRequest(policy=policy, vm=vm, host=host, all_runs=every, waiting_only=waiting)
        cancel_fitting(controller, output, wanted, plan_only=plan, confirmed=yes)
