"""Retention policies and verdicts: messages to values and back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.forgetting.plan import PlannedPoint
from seawall.controller.forgetting.reclaim import Reclaimed
from seawall.controller.forgetting.retention import Policy, Verdict
from seawall.controller.policies.zones import BadZone, zone_named
from seawall.controller.services.convert_catalogue import point_message
from seawall.controller.services.paging import LARGEST_BYTES
from seawall.controller.services.views import point_views
from seawall.controller.store.transaction import Transaction
from seawall.controller.text import printable, sentence

UTC = "UTC"
LONGEST_SHOWN = 60
_KEEP = {True: resources_pb2.VERDICT_KIND_KEEP, False: resources_pb2.VERDICT_KIND_DELETE}


def policy_of(message: resources_pb2.RetentionPolicy) -> Policy:
    """Raises InvalidArgument/POLICY_KEEPS_NOTHING."""
    policy = Policy(
        keep_last=message.keep_last,
        keep_hourly=message.keep_hourly,
        keep_daily=message.keep_daily,
        keep_weekly=message.keep_weekly,
        keep_monthly=message.keep_monthly,
        keep_yearly=message.keep_yearly,
        keep_within_us=max(0, message.keep_within.ToMicroseconds()),
    )
    if policy.keeps_nothing:
        raise InvalidArgument(
            "POLICY_KEEPS_NOTHING",
            "A policy without any rule would delete every point; name at least one --keep-… rule.",
        )
    return policy


def zone_of(request: operator_pb2.ForgetPointsRequest) -> ZoneInfo:
    """Whose days its policy counts. Raises InvalidArgument/BAD_ZONE."""
    try:
        return zone_named(request.zone or UTC, repr(printable(request.zone)[:LONGEST_SHOWN]))
    except BadZone as error:
        raise InvalidArgument("BAD_ZONE", sentence(str(error))) from error


def verdict_messages(transaction: Transaction, planned: Sequence[PlannedPoint]) -> list[resources_pb2.PointVerdict]:
    """Points without what only one point's own view needs."""
    views = point_views(transaction, [each.point for each in planned])
    messages = []
    for each, view in zip(planned, views, strict=True):
        point = point_message(view)
        point.ClearField("warnings")
        for disk in point.disks:
            disk.ClearField("why")
        messages.append(resources_pb2.PointVerdict(point=point, verdict=_KEEP[each.keep], reasons=each.reasons))
    return messages


@dataclass(frozen=True, slots=True)
class Shown:
    """What one answer has room for, of `total` verdicts; `going` of them are on points that go."""

    verdicts: Sequence[resources_pb2.PointVerdict]
    total: int
    going: int

    @property
    def left_off(self) -> int:
        return self.total - len(self.verdicts)

    @property
    def going_left_off(self) -> int:
        return self.going - sum(each.verdict == _KEEP[False] for each in self.verdicts)


def shown_verdicts(transaction: Transaction, judged: Iterable[Sequence[Verdict]]) -> Shown:
    """Every verdict is counted; only what may be shown is read whole."""
    found: list[resources_pb2.PointVerdict] = []
    total, going, room = 0, 0, dict.fromkeys(_KEEP.values(), LARGEST_BYTES)
    for some in judged:
        total += len(some)
        going += sum(not each.keep for each in some)
        messages = _messages_of(transaction, [each for each in some if room[_KEEP[each.keep]] >= 0])
        for message in messages:
            room[message.verdict] -= message.ByteSize()
        found += messages
    return Shown(fitted_verdicts(found), total, going)


def _messages_of(transaction: Transaction, verdicts: Sequence[Verdict]) -> list[resources_pb2.PointVerdict]:
    points = {point.id: point for point in transaction.points.points_of([each.id for each in verdicts])}
    planned = [PlannedPoint(points[each.id], each.keep, each.reasons) for each in verdicts if each.id in points]
    return verdict_messages(transaction, planned)


def reclaim_message(found: Reclaimed) -> resources_pb2.Reclaim:
    return resources_pb2.Reclaim(known=found.known, bytes=found.bytes, points=found.points)


def fitted(
    verdicts: Sequence[resources_pb2.PointVerdict], reclaim: resources_pb2.Reclaim
) -> operator_pb2.ForgetPointsResponse:
    """What one answer holds: every point that goes, then as many that stay as there is room for, in their order.

    Raises InvalidArgument/TOO_MANY_POINTS when those that go are too many alone.
    """
    going_bytes = sum(each.ByteSize() for each in verdicts if each.verdict == _KEEP[False])
    if going_bytes > LARGEST_BYTES:
        raise InvalidArgument(
            "TOO_MANY_POINTS",
            "So many points would go that one answer cannot name them; name some VMs: `seawall point forget --vm`.",
        )
    shown = fitted_verdicts(verdicts)
    return operator_pb2.ForgetPointsResponse(verdicts=shown, reclaim=reclaim, left_off=len(verdicts) - len(shown))


def fitted_verdicts(verdicts: Sequence[resources_pb2.PointVerdict]) -> list[resources_pb2.PointVerdict]:
    """Those that an answer has room for, in their order: first come points that go, then those that stay."""
    room, chosen = LARGEST_BYTES, set()
    for kind in (_KEEP[False], _KEEP[True]):
        for number, each in enumerate(verdicts):
            if each.verdict == kind and room >= 0:
                room -= each.ByteSize()
                chosen |= {number} if room >= 0 else set()
    return [each for number, each in enumerate(verdicts) if number in chosen]
