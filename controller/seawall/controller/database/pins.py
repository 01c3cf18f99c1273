"""Pins. One counts while its holder, a run or a job, is open: nobody has to take it back."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.tables import jobs, pins, restore_points, runs
from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.maintenance import JobState, Pin, PinKind
from seawall.controller.records.runs import RunState

_OPEN_RUN = sa.exists().where(
    runs.c.id == pins.c.holder, runs.c.state.in_((RunState.READY.value, RunState.ACTIVE.value))
)
_OPEN_JOB = sa.exists().where(
    jobs.c.id == pins.c.holder, jobs.c.state.in_((JobState.READY.value, JobState.ACTIVE.value))
)
_HELD = sa.or_(_OPEN_RUN, _OPEN_JOB)


class PinRows:
    """`Pins` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def pin(self, pin: Pin) -> None:
        query = sa.select(restore_points.c.state).where(restore_points.c.id == pin.point_id)
        if self._connection.execute(query).scalar_one_or_none() != PointState.AVAILABLE.value:
            raise FailedPrecondition(
                "POINT_NOT_AVAILABLE", f"Point {pin.point_id} is being deleted, or not published yet; choose another."
            )
        known = sa.select(pins.c.id).where(pins.c.holder == pin.holder, pins.c.point_id == pin.point_id)
        if self._connection.execute(known).first() is None:
            values = {column.name: getattr(pin, column.name) for column in pins.c} | {"kind": pin.kind.value}
            self._connection.execute(sa.insert(pins).values(**values))

    def pins_of(self, point_ids: Sequence[str]) -> Sequence[Pin]:
        query = sa.select(pins).where(pins.c.point_id.in_(point_ids), _HELD).order_by(pins.c.id)
        return [_pin(row) for row in self._connection.execute(query)]

    def drop_spent(self, repository_id: str) -> int:
        spent = sa.delete(pins).where(pins.c.repository_id == repository_id, sa.not_(_HELD))
        return int(self._connection.execute(spent).rowcount)


def _pin(row: sa.Row[Any]) -> Pin:
    return Pin(**dict(row._mapping) | {"kind": PinKind(row.kind)})
