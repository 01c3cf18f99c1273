"""Moved VMs: what hosts tell of departures, and what operators are told."""

from collections.abc import Iterable, Sequence

from seawall.api.v1 import agent_pb2, operator_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.services.convert_fleet import vm_message
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.moved import Standing
from seawall.controller.services.views import VmView
from seawall.repository.format.names import check_id

MOST_DEPARTURES = 20_000
LONGEST_AGO_MS = 3_600_000
"""What is said of longer ago is of no use to anybody."""


def departures_of(messages: Sequence[agent_pb2.VmDeparture], now_us: int) -> dict[str, int]:
    """VM id -> when it left. Raises InvalidArgument/BAD_VM, TOO_MANY_VMS."""
    if len(messages) > MOST_DEPARTURES:
        raise InvalidArgument("TOO_MANY_VMS", f"A host reports at most {MOST_DEPARTURES} VMs.")
    try:
        return {
            check_id(each.vm_id): now_us - each.milliseconds_ago * 1000
            for each in messages
            if each.milliseconds_ago <= LONGEST_AGO_MS
        }
    except ValueError as error:
        raise InvalidArgument("BAD_VM", f"A VM's id is a lower-case UUID: {error}") from error


def moved_message(
    view: VmView, standings: Iterable[Standing], claimed_by: Iterable[str]
) -> operator_pb2.ConfirmMoveResponse:
    points = [
        operator_pb2.MovedPoints(
            repository_name=each.repository,
            point_id=each.point.id,
            instant=timestamp(each.point.instant_us),
            host_name=each.host,
            host_id=each.point.host_id,
            goes_on=not each.belief.doubt,
            why_not=each.belief.doubt,
        )
        for each in standings
    ]
    return operator_pb2.ConfirmMoveResponse(vm=vm_message(view), points=points, claimed_by=claimed_by)
