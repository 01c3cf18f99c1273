"""`seawall point delete` and `seawall point forget`: points that go, shown before they do."""

from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from typer.models import OptionInfo

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.completion import point_ids, repository_names, vm_names
from seawall.cli.confirming import YesOption
from seawall.cli.deleting import Order, carry_out
from seawall.cli.exits import CommandError, Exit
from seawall.cli.numbers import number_option
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import parse_period

PointsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="POINT",
        help="Points by id, or enough of its first digits to be unique (8 at least).",
        autocompletion=point_ids,
    ),
]
PlanOption = Annotated[
    bool, typer.Option("--plan", "--dry-run", help="Show what would go, what would stay, and why; delete nothing.")
]

UTC = "UTC"
_MOST = 1_000_000
_KEEP_HELP = "Keep the newest point of each of the last N {} that have one."


def _keep(flag: str, periods: str) -> OptionInfo:
    return number_option(flag, most=_MOST, help=_KEEP_HELP.format(periods), show_default=False)


def delete_points(
    points: PointsArgument,
    plan: PlanOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete restore points for ever. Other points need nothing of them.

    A point that a run or a job is using is refused. The space comes back with the next collection: seawall repo collect.

    Example: seawall point delete 0192f3c1 --plan
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.DeletePointsRequest(points=points, plan_only=True)
        planned = controller.call(controller.backup.DeletePoints, request)
        order = Order(planned.verdicts, planned.reclaim)

        def act(request_id: str, going: list[str]) -> list[resources_pb2.PointVerdict]:
            wanted = operator_pb2.DeletePointsRequest(request_id=request_id, points=going)
            return list(controller.call(controller.backup.DeletePoints, wanted, timeout_seconds=600).verdicts)

        if not plan:
            _refuse_kept(order)
        carry_out(output, order, act, plan_only=plan, confirmed=yes)


def forget_points(
    vm: Annotated[
        list[str] | None, typer.Option(help="Only points of this VM; may be repeated.", autocompletion=vm_names)
    ] = None,
    repo: Annotated[
        str,
        typer.Option("--repo", "--repository", help="Only points in this repository.", autocompletion=repository_names),
    ] = "",
    all_vms: Annotated[bool, typer.Option("--all-vms", help="Points of all VMs, in all repositories.")] = False,
    keep_last: Annotated[
        int,
        number_option("--keep-last", most=_MOST, help="Keep the last N points.", show_default=False),
    ] = 0,
    keep_hourly: Annotated[int, _keep("--keep-hourly", "hours")] = 0,
    keep_daily: Annotated[int, _keep("--keep-daily", "days")] = 0,
    keep_weekly: Annotated[int, _keep("--keep-weekly", "ISO weeks")] = 0,
    keep_monthly: Annotated[int, _keep("--keep-monthly", "months")] = 0,
    keep_yearly: Annotated[int, _keep("--keep-yearly", "years")] = 0,
    keep_within: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Keep all points of this time before the newest one: 12h, 30d, 6w, 1y, or 1y6w.",
            show_default=False,
        ),
    ] = "",
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Whose hours, days, weeks, months and years count: Europe/Berlin.")
    ] = UTC,
    plan: PlanOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the points that no --keep-… rule keeps, VM by VM and repository by repository.

    A point stays when any rule keeps it. It belongs to the hour, day, week, month and year in which the policy that made it was due, else
    in which it was taken, as clocks in --zone show it. Kept besides, whatever the rules say: the newest point, points in use by a run or a
    job, points being published, and points from the future (a clock is wrong). A damaged point never takes the place of a whole one. What
    goes is shown before it goes, and nothing else goes. The space comes back with the next collection: seawall repo collect.

    Example: seawall point forget --all-vms --keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --plan
    """
    with session(config, as_json) as (controller, output):
        policy = resources_pb2.RetentionPolicy(
            keep_last=keep_last,
            keep_hourly=keep_hourly,
            keep_daily=keep_daily,
            keep_weekly=keep_weekly,
            keep_monthly=keep_monthly,
            keep_yearly=keep_yearly,
            keep_within=_within(keep_within),
        )
        wanted = operator_pb2.ForgetPointsRequest(
            policy=policy, vms=vm or [], repository=repo, all_vms=all_vms, zone=zone
        )
        asked = operator_pb2.ForgetPointsRequest(plan_only=True)
        asked.MergeFrom(wanted)
        planned = controller.call(controller.backup.ForgetPoints, asked)
        _refuse_other_zone(zone, planned.zone)
        order = Order(planned.verdicts, planned.reclaim, planned.left_off)

        def act(request_id: str, going: list[str]) -> list[resources_pb2.PointVerdict]:
            request = operator_pb2.ForgetPointsRequest(request_id=request_id, planned=going)
            request.MergeFrom(wanted)
            return list(controller.call(controller.backup.ForgetPoints, request, timeout_seconds=600).verdicts)

        carry_out(output, order, act, plan_only=plan, confirmed=yes)


def _refuse_other_zone(zone: str, counted: str) -> None:
    """An older controller skips the field that it does not know, and would delete by days in UTC."""
    if zone not in ("", UTC) and not counted:
        raise CommandError(
            Exit.REFUSED,
            "NEEDS_UPGRADE",
            f"Nothing was deleted: the controller is older than this command line and counts in UTC, not in {zone}. "
            "Upgrade the controller, or leave --zone out.",
        )


def _within(text: str) -> Duration | None:
    if not text:
        return None
    try:
        period = parse_period(text)
    except ValueError as error:
        raise CommandError(
            Exit.USAGE,
            "BAD_PERIOD",
            f"--keep-within {text!r} is not a time such as 12h, 30d, 6w, 1y or 1y6w; months have no fixed length: say 30d.",
        ) from error
    within = Duration()
    within.FromTimedelta(period)
    return within


def _refuse_kept(order: Order) -> None:
    """All or nothing goes, as the controller has it; said before anybody is asked."""
    kept = [each for each in order.verdicts if each.verdict == resources_pb2.VERDICT_KIND_KEEP]
    if kept:
        told = "; ".join(f"{each.point.point_id} is {', '.join(each.reasons)}" for each in kept[:3])
        raise CommandError(
            Exit.REFUSED, "POINT_PINNED", f"Nothing was deleted: {told}. Wait for it to end, or cancel it."
        )
