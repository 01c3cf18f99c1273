"""`seawall point`: restore points."""

from datetime import datetime
from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.commands.point_delete import delete_points, forget_points
from seawall.cli.commands.point_hold import hold_points, release_points, until
from seawall.cli.completion import point_ids, repository_names, vm_names
from seawall.cli.numbers import number_option
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import age, duration, local, size
from seawall.cli.view import word
from seawall.repository.clock import SystemClock, datetime_of

app = typer.Typer(name="point", no_args_is_help=True, help="Restore points: one VM at one instant.")


@app.command("list")
def list_points(
    vm: Annotated[str, typer.Option(help="Only points of this VM.", autocompletion=vm_names)] = "",
    repo: Annotated[str, typer.Option(help="Only points in this repository.", autocompletion=repository_names)] = "",
    limit: Annotated[int, number_option(least=1, help="At most this many, newest first.")] = 100,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List restore points, newest first."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ListPointsRequest(vm=vm, repository=repo, page_size=min(limit, 500))
        points = controller.pages(controller.backup.ListPoints, request, "points", limit)
        if as_json:
            return output.json({"points": points})
        now = datetime_of(SystemClock().now_us())
        output.table(
            ("#POINT", "VM", "REPOSITORY", "INSTANT", "KIND", "FROZEN", ">SIZE", ">STORED", "STATE", "VERIFIED"),
            (
                (
                    point.point_id,
                    point.vm_name,
                    point.repository,
                    local(point.instant),
                    "incremental" if point.incremental else "full",
                    "yes" if point.guest_frozen else "no",
                    size(sum(disk.size_bytes for disk in point.disks)),
                    size(sum(disk.stored_bytes for disk in point.disks)),
                    "damaged" if point.damage else "held" if point.holds else word(point, "state"),
                    _verified_in_short(point, now),
                )
                for point in points
            ),
            "No restore points. `seawall backup VM` makes one.",
        )


@app.command("show")
def show_point(
    point: Annotated[
        str,
        typer.Argument(
            help="The point's id, or enough of its first digits to be unique (8 at least).", autocompletion=point_ids
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one restore point: its disks, how each was read, and why."""
    with session(config, as_json) as (controller, output):
        found = controller.call(controller.backup.GetPoint, operator_pb2.GetPointRequest(point=point)).point
        if as_json:
            return output.json(found)
        output.line(f"{found.vm_name} at {local(found.instant)}", style="bold")
        frozen = "file systems frozen" if found.guest_frozen else "crash-consistent: file systems were not frozen"
        output.line(f"point       {found.point_id} ({word(found, 'state')})\nrepository  {found.repository}")
        output.line(f"tenant      {found.tenant or 'default'}")
        output.line(f"taken on    {found.host_name}, {frozen}")
        output.line(
            f"parent      {found.parent_point_id or 'none'} (for comparison only: nothing else is needed to restore)"
        )
        if found.policy:
            output.line(f"policy      {found.policy}")
        for hold in found.holds:
            output.line(f"held        {hold.reason}, {until(hold)}")
        output.line(f"verified    {_verified(found)}")
        if found.HasField("checked_at"):
            now = datetime_of(SystemClock().now_us())
            output.line(
                f"checked     {age(found.checked_at, now)}; what was read longest ago {age(found.read_back_at, now)}"
            )
        if found.damage:
            output.line(f"damaged     {found.damage}", style="red")
        held = ", ".join(f"{member.name} ({size(member.size_bytes)})" for member in found.members)
        output.line(f"members     {held or 'none'}")
        for warning in found.warnings:
            output.line(f"warning     {warning.message} ({warning.reason})", style="yellow")
        output.line()
        output.table(
            ("DISK", "FORMAT", ">SIZE", ">READ", ">NEW", ">STORED", ">TOOK", "HOW", "WHY"),
            (
                (
                    disk.disk,
                    disk.format,
                    size(disk.size_bytes),
                    size(disk.read_bytes),
                    size(disk.new_bytes),
                    size(disk.stored_bytes),
                    duration(disk.milliseconds / 1000),
                    word(disk, "how"),
                    disk.why,
                )
                for disk in found.disks
            ),
            "",
        )


def _verified_in_short(point: resources_pb2.Point, now: datetime) -> str:
    """How long ago the oldest of what it needs was read back."""
    if not point.verified:
        return "failed" if point.damage or point.HasField("checked_at") else "never"
    return age(point.read_back_at, now) if point.HasField("read_back_at") else "yes"


def _verified(point: resources_pb2.Point) -> str:
    if point.verified:
        return f"yes, {local(point.verified_at)}: all that it needs was read back and proven"
    return "no: not everything that it needs was read back from the store and proven, or it is not whole"


app.command("delete")(delete_points)
app.command("forget")(forget_points)
app.command("hold")(hold_points)
app.command("release")(release_points)
