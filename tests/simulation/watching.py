"""Sees every change of runs, points, policies, inventories, limits, the lead as it commits: whoever made it, whichever code led to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from seawall.controller.database.fleet import FleetRows
from seawall.controller.database.leadership import LeadershipRows
from seawall.controller.database.limits import LimitRows
from seawall.controller.database.points import PointRows
from seawall.controller.database.policies import PolicyRows
from seawall.controller.database.runs import RunRows
from seawall.controller.records.limits import Traffic
from seawall.controller.records.runs import Attempt, Run

from .process import Process

SEEN = (
    (RunRows, "add_runs"),
    (RunRows, "save_run"),
    (RunRows, "add_attempt"),
    (RunRows, "save_attempt"),
    (PointRows, "add_point"),
    (PointRows, "make_available"),
    (PointRows, "give_up"),
    (PointRows, "take_back"),
    (PointRows, "begin_delete"),
    (LimitRows, "set_limit"),
    (LimitRows, "unset_limit"),
    (LimitRows, "save_shares"),
    (FleetRows, "set_service"),
    (FleetRows, "replace_inventory"),
    (PolicyRows, "put_due"),
    (PolicyRows, "add_policy"),
    (PolicyRows, "save_policy"),
    (PolicyRows, "mark_fired"),
    (LeadershipRows, "take"),
)
"""Methods of the rows: below them is only SQL. Of those that call each other the lowest."""


@dataclass(frozen=True)
class Seen:
    """One call in a transaction. `result`: what it returned."""

    name: str
    given: tuple[Any, ...]
    result: Any


@dataclass(frozen=True)
class Committed:
    """A transaction that changed something. `holder`, `db_epoch`: of the leader's row and the database, in it. `traffic`: all of it, where
    bandwidth was shared.
    """

    process: Process
    calls: tuple[Seen, ...]
    holder: str
    db_epoch: int
    traffic: Sequence[Traffic] = ()

    def named(self, name: str) -> list[Seen]:
        return [call for call in self.calls if call.name == name]

    @property
    def added_runs(self) -> list[Run]:
        return [run for call in self.named("add_runs") for run in call.given[0]]

    @property
    def saved_attempts(self) -> list[tuple[Attempt, Attempt]]:
        return [(call.given[0], call.result) for call in self.named("save_attempt") if call.given[0] != call.result]

    @property
    def saved_runs(self) -> list[tuple[Run, Run]]:
        return [(call.given[0], call.result) for call in self.named("save_run") if call.given[0] != call.result]


@dataclass
class Watch:
    """A `database.Watcher`. `tell` hears of each transaction after its commit."""

    tell: Callable[[Committed], None]
    _calls: list[Seen] = field(default_factory=list)
    _last: Committed | None = None

    def begin(self) -> None:
        self._calls, self._last = [], None
        _current.append(self)

    def committed(self, process: Process, connection: sa.Connection) -> None:
        if self._calls:
            rows = LeadershipRows(connection)
            shared = any(call.name == "save_shares" for call in self._calls)
            traffic = LimitRows(connection).traffic() if shared else ()
            self._last = Committed(process, tuple(self._calls), rows.lease().holder, rows.db_epoch(), traffic)

    def over(self, *, done: bool) -> None:
        _current.pop()
        if done and self._last is not None:
            self.tell(self._last)

    def see(self, seen: Seen) -> None:
        self._calls.append(seen)


_current: list[Watch] = []


@contextmanager
def watching() -> Iterator[None]:
    """The rows' methods report while it lasts."""
    with ExitStack() as stack:
        for rows, name in SEEN:
            stack.enter_context(patch.object(rows, name, _reporting(getattr(rows, name), name)))
        yield


def _reporting(real: Any, name: str) -> Any:
    def report(rows: Any, *given: Any, **named: Any) -> Any:
        given = tuple(list(each) if isinstance(each, Iterator) else each for each in given)
        result = real(rows, *given, **named)
        if _current:
            _current[-1].see(Seen(name, (*given, *named.values()), result))
        return result

    return report
