"""`seawall point hold` and `seawall point release`: points that stay, whatever policies and operators say."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.commands.point_delete import PointsArgument
from seawall.cli.connection import new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import local, parse_period


def hold_points(
    points: PointsArgument,
    reason: Annotated[str, typer.Option(help="Why; shown wherever the point is.")] = "",
    hold_for: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="12h, 30d, 6w, 1y, or 1y6w.", show_default="until it is released"),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep points: no retention and no `point delete` removes them while they are held.

    Example: seawall point hold 0192f3c1 --reason "before the migration" --for 1y
    """
    with session(config, as_json) as (controller, output):
        request = operator_pb2.HoldPointsRequest(request_id=new_request_id(), points=points, reason=reason)
        if hold_for:
            request.hold_for.CopyFrom(_period(hold_for))
        held = controller.call(controller.backup.HoldPoints, request).points
        more = left_off(points, held)
        if as_json:
            return output.json({"points": list(held), "left_off": more})
        for point in held:
            (hold,) = point.holds
            output.line(f"{point.point_id} of {point.vm_name} is held {until(hold)} ({hold.reason}).")
        _tell_more(output, len(more), "held")


def release_points(points: PointsArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let go of held points: their policy decides again how long they stay."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ReleasePointsRequest(request_id=new_request_id(), points=points)
        released = controller.call(controller.backup.ReleasePoints, request).points
        more = left_off(points, released)
        if as_json:
            return output.json({"points": list(released), "left_off": more})
        for point in released:
            output.line(f"{point.point_id} of {point.vm_name} is not held.")
        _tell_more(output, len(more), "not held")


def left_off(named: Iterable[str], answered: Sequence[resources_pb2.Point]) -> list[str]:
    """Those of the named points, as they were named, of which the answer does not tell though it concerns them: of points with many disks
    it holds fewer. A name is an id or the beginning of one.
    """
    return [word for word in dict.fromkeys(named) if not any(point.point_id.startswith(word) for point in answered)]


def _tell_more(output: Output, more: int, what: str) -> None:
    if more > 0:
        verb = "is" if more == 1 else "are"
        output.line(f"… and {more} more {verb} {what}.")


def until(hold: resources_pb2.PointHold) -> str:
    """How long it keeps its point."""
    return f"until {local(hold.until)}" if hold.HasField("until") else "until it is released"


def _period(text: str) -> Duration:
    try:
        period = parse_period(text)
    except ValueError as error:
        message = (
            f"--for {text!r} is not a time such as 12h, 30d, 6w, 1y or 1y6w; months have no fixed length: say 30d."
        )
        raise CommandError(Exit.USAGE, "BAD_PERIOD", message) from error
    found = Duration()
    found.FromTimedelta(period)
    return found
