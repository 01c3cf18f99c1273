"""Points that go: the plan as text or JSON, the question, the order in slices, what became of it. For `point delete` and `point forget`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seawall.api.v1 import resources_pb2
from seawall.cli.confirming import confirm
from seawall.cli.connection import new_request_id
from seawall.cli.output import Output
from seawall.cli.text import count, local, size
from seawall.cli.view import word

SLICE = 1000
"""Points that the controller takes at once."""

Act = Callable[[str, list[str]], list[resources_pb2.PointVerdict]]
"""Request id, ids of points that go: what became of each."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the controller planned. `left_off`: kept points that its answer had no room for."""

    verdicts: Sequence[resources_pb2.PointVerdict]
    reclaim: resources_pb2.Reclaim
    left_off: int = 0

    @property
    def going(self) -> list[str]:
        return [each.point.point_id for each in self.verdicts if goes(each)]

    @property
    def staying(self) -> int:
        return len(self.verdicts) - len(self.going) + self.left_off


def goes(verdict: resources_pb2.PointVerdict) -> bool:
    return verdict.verdict == resources_pb2.VERDICT_KIND_DELETE


def carry_out(output: Output, order: Order, act: Act, *, plan_only: bool, confirmed: bool) -> None:
    """Show the plan, ask, delete, say what became of it. Raises CommandError: not confirmed, and what the controller refuses."""
    if not output.as_json:
        print_plan(output, order)
    if plan_only or not order.going:
        return output.json(document(order, [], plan_only=plan_only)) if output.as_json else None
    if not confirmed:
        points = count(len(order.going), "point")
        confirm(output, f"Delete {points} for ever?", f"{points} would be deleted for ever.")
    outcomes = [each for some in _slices(order.going) for each in act(new_request_id(), some)]
    if output.as_json:
        return output.json(document(order, outcomes, plan_only=False))
    _print_outcome(output, order, outcomes)


def print_plan(output: Output, order: Order) -> None:
    """A line per point, then what goes, what stays, and how much comes back."""
    output.table(
        ("#POINT", "VM", "REPOSITORY", "INSTANT", ">SIZE", ">STORED", "WHAT", "WHY"),
        (_row(each) for each in order.verdicts),
        "No restore points there.",
    )
    if order.left_off:
        output.line(f"… and {count(order.left_off, 'point')} more that stay.")
    if order.verdicts:
        output.line(
            f"\n{count(len(order.going), 'point')} to delete, {order.staying} to keep. {_back(order.reclaim)}".rstrip()
        )


def document(order: Order, outcomes: Sequence[resources_pb2.PointVerdict], *, plan_only: bool) -> dict[str, Any]:
    """The one document of --json: the plan, and of what was ordered the ids that went."""
    return {
        "plan_only": plan_only,
        "verdicts": list(order.verdicts),
        "left_off": order.left_off,
        "reclaim": order.reclaim,
        "deleted": [each.point.point_id for each in outcomes if goes(each)],
        "kept_after_all": [each for each in outcomes if not goes(each)],
    }


def _row(verdict: resources_pb2.PointVerdict) -> tuple[str, ...]:
    point = verdict.point
    return (
        point.point_id,
        point.vm_name,
        point.repository,
        local(point.instant),
        size(sum(disk.size_bytes for disk in point.disks)),
        size(sum(disk.stored_bytes for disk in point.disks)),
        word(verdict, "verdict"),
        ", ".join(verdict.reasons),
    )


def _back(reclaim: resources_pb2.Reclaim) -> str:
    if not reclaim.points:
        return ""
    if not reclaim.known:
        return "How much comes back is too much to work out here: `seawall repo collect REPOSITORY --plan` says it afterwards."
    return f"About {size(reclaim.bytes)} come back with the next collection (seawall repo collect)."


def _slices(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + SLICE] for start in range(0, len(ids), SLICE)]


def _print_outcome(output: Output, order: Order, outcomes: Sequence[resources_pb2.PointVerdict]) -> None:
    gone = [each for each in outcomes if goes(each)]
    output.line(f"\n{count(len(gone), 'point')} deleted.", style="bold")
    for each in outcomes:
        if not goes(each):
            output.line(f"kept after all: {each.point.point_id} ({', '.join(each.reasons)})", style="yellow")
    repositories = " or ".join(sorted({each.point.repository for each in gone}))
    if repositories:
        output.note(f"The space comes back with: seawall repo collect {repositories}")
