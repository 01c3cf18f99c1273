"""What retention must not do: delete by a policy that changed meanwhile, end holds by a clock that jumps, wait for another repository."""

import asyncio
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Unavailable
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.policies.expiring import SLICE, Expiring
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.policies import Hold
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import microseconds_of
from support.controller_clock import ManualClock
from support.controller_records import NOW, a_point, a_repository, a_run, an_execution
from support.policies import a_policy, add_fleet
from support.sqlite_template import new_sqlite

YEAR = 365 * 86_400.0
LAST = "retention: {last: 1}"


class Deleting(Deletions):
    """Decides in the database, and tells no bucket. `away`: a repository that cannot be reached; `before`: called with each order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = ""
        self.before: Callable[[], None] = lambda: None
        self.orders: list[list[str]] = []

    def delete(self, point_ids: Sequence[str]) -> None:
        def closure(transaction: Transaction) -> None:
            for point_id in point_ids:
                point = transaction.points.point(point_id)
                if point is None or point.repository_id == self.away:
                    raise Unavailable("STORE_UNAVAILABLE", "The store cannot be reached.")
                transaction.points.begin_delete(point_id, b"t", NOW)

        self._store.write_now(closure)
        self.orders.append(list(point_ids))
        self.before()


@dataclass
class Scene:
    database: SqliteDatabase
    wall: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        self.deleting = Deleting(self.database)
        steady = SteadyClock(self.clock)
        self.lease = LeaderLease(self.database, steady, Timings())
        asyncio.run(self.lease.acquire())
        self.blocking, self.wakes = Blocking(1), Wakes()
        self.expiring = Expiring(
            self.database, self.deleting, self.lease, self.blocking, self.wakes, self.wall, steady, 1.0
        )

    def add_points(
        self,
        numbers: Sequence[int],
        policy_id: str,
        repository_id: str = "repository",
        nights: Sequence[datetime] = (),
    ) -> list[str]:
        """Of VM vm-1, oldest first. `nights`: when each was due; it is taken a quarter of an hour later, ten seconds sooner or later."""

        def closure(transaction: Transaction) -> list[str]:
            ids = []
            for number in numbers:
                run = a_run(number, state=RunState.SUCCEEDED, repository_id=repository_id)
                instant_us = NOW + number
                if nights:
                    due_us = microseconds_of(nights[number - 1])
                    run = replace(run, policy_id=policy_id, nominal_us=due_us)
                    instant_us = due_us + (890 if number % 2 else 910) * 1_000_000
                attempt = replace(
                    an_execution().attempt, id=f"attempt-{number}", run_id=run.id, state=AttemptState.SUCCEEDED
                )
                transaction.runs.add_run(run)
                transaction.runs.add_attempt(attempt)
                known = {"state": PointState.AVAILABLE, "intent": None, "policy_id": policy_id}
                transaction.points.add_point(
                    a_point(run, attempt.id, seq=number, published_us=NOW, instant_us=instant_us, **known)
                )
                ids.append(run.id)
            return ids

        return self.database.write_now(closure)

    def look(self) -> None:
        asyncio.run(self.expiring.run_once())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as database:
        add_fleet(database)
        made = Scene(database)
        yield made
        made.blocking.close()


def test_a_repository_that_is_away_stops_the_other_policies_not(scene: Scene) -> None:
    def closure(transaction: Transaction) -> None:
        transaction.repositories.add_repository(replace(a_repository("away", "away"), url="file:///a"))
        transaction.policies.add_policy(a_policy(LAST, name="a", policy_id="policy-1", repository_id="away"))
        transaction.policies.add_policy(a_policy(LAST, name="b", policy_id="policy-2"))

    scene.database.write_now(closure)
    left = scene.add_points(range(1, 4), "policy-1", "away")
    gone = scene.add_points(range(11, 14), "policy-2")
    scene.deleting.away = "away"
    for _ in range(2):
        scene.look()
    assert [sorted(order) for order in scene.deleting.orders] == [gone[:-1]]
    scene.deleting.away = ""
    scene.look()
    assert sorted(scene.deleting.orders[1]) == left[:-1], "what was refused is judged again, and not an hour later"


def test_a_policy_that_is_changed_deletes_nothing_more_of_what_it_planned(scene: Scene) -> None:
    policy = a_policy(LAST)
    scene.database.write_now(lambda transaction: transaction.policies.add_policy(policy))
    scene.add_points(range(1, SLICE + 12), policy.id)
    kinder = a_policy("retention: {last: 1000}", revision=2)
    scene.deleting.before = lambda: scene.database.write_now(
        lambda transaction: transaction.policies.save_policy(policy, kinder)
    )
    scene.look()
    assert [len(order) for order in scene.deleting.orders] == [SLICE]


def test_a_wall_clock_that_is_a_year_ahead_ends_no_hold(scene: Scene) -> None:
    policy = a_policy(LAST)
    scene.database.write_now(lambda transaction: transaction.policies.add_policy(policy))
    held, gone, _ = scene.add_points(range(1, 4), policy.id)
    until_us = NOW + 30 * 86_400 * 1_000_000
    scene.database.write_now(lambda transaction: transaction.policies.hold(Hold(held, "audit", NOW, until_us)))
    scene.wall.advance(YEAR)
    scene.look()
    assert scene.deleting.orders == [[gone]]
    scene.clock.advance(YEAR)
    scene.look()
    assert scene.deleting.orders == [[gone], [held]]


@pytest.mark.parametrize("due", [(1, 30), (23, 45)])
def test_each_local_day_keeps_its_point_wherever_the_days_of_utc_end(scene: Scene, due: tuple[int, int]) -> None:
    """Due at 01:30 in Berlin. When clocks go forward, a day of UTC has two of them; at 23:45, a day there may have two that were taken."""
    policy = a_policy("retention: {daily: 14}")
    policy = replace(policy, spec=replace(policy.spec, zone="Europe/Berlin"))
    scene.database.write_now(lambda transaction: transaction.policies.add_policy(policy))
    first = datetime(2026, 3, 22, *due, tzinfo=ZoneInfo("Europe/Berlin"))
    nights = [first + timedelta(days=number) for number in range(14)]
    scene.add_points(range(1, 15), policy.id, nights=nights)
    scene.look()
    assert scene.deleting.orders == []


def test_a_policy_whose_zone_is_not_known_any_more_deletes_nothing_and_stops_no_other(scene: Scene) -> None:
    lost = a_policy(LAST, name="a", policy_id="policy-1")
    lost = replace(lost, spec=replace(lost.spec, zone="Mars/Olympus"))

    def closure(transaction: Transaction) -> None:
        transaction.policies.add_policy(lost)
        transaction.policies.add_policy(a_policy(LAST, name="b", policy_id="policy-2"))

    scene.database.write_now(closure)
    scene.add_points(range(1, 4), "policy-1")
    gone = scene.add_points(range(11, 14), "policy-2")
    with structlog.testing.capture_logs() as logs:
        scene.look()
        assert [sorted(order) for order in scene.deleting.orders] == [gone[:-1]]
        scene.look()
        assert told(logs) == ["a"], "once, not at each look"
        changed = replace(lost, revision=2, spec=replace(lost.spec, paused=True))
        scene.database.write_now(lambda transaction: transaction.policies.save_policy(lost, changed))
        scene.look()
        scene.look()
    assert told(logs) == ["a", "a"], "once more for the new revision"


def told(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Names of the policies of which was told that nobody knows their zone."""
    return [each["policy"] for each in logs if each["event"] == "retention.zone_unknown"]
