"""Retention of a whole policy in slices: the verdicts of one reading of everything, without ever holding everything; on every engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from seawall.controller.database.database import Database
from seawall.controller.database.points import PointRows
from seawall.controller.forgetting import plan
from seawall.controller.forgetting.plan import Scope, judged, plan_policy
from seawall.controller.policies.applying import plan_changes
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.policies import Hold
from seawall.controller.records.runs import RunState
from seawall.controller.services.convert_forgetting import shown_verdicts, verdict_messages
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of
from support.controller_clock import ManualClock
from support.controller_databases import ENGINES, open_engine
from support.controller_records import HOUR, NOW, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

POLICY = a_policy("retention: {last: 1, daily: 2}")
ZONE = ZoneInfo("Asia/Tokyo")
VMS = 7
POINTS = 5


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Seven VMs with five points each, some of another policy, deleted, damaged, held, or not published yet."""
    with open_engine(request.param, request, tmp_path) as database:
        add_hosts(database, "alpha")
        database.write_now(_fill)
        yield database


def _fill(transaction: Transaction) -> None:
    transaction.repositories.add_repository(a_repository())
    transaction.policies.add_policy(POLICY)
    for number in range(1, VMS * POINTS + 1):
        vm_id = f"vm-{number % VMS}"
        due = {"policy_id": POLICY.id, "nominal_us": _due(number)} if number % 3 else {}
        run = a_run(number, state=RunState.SUCCEEDED, vm_id=vm_id, vm_name=f"db{9 - number % VMS}", **due)
        attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id)
        transaction.runs.add_run(run)
        transaction.runs.add_attempt(attempt)
        transaction.points.add_point(
            a_point(
                run,
                attempt.id,
                state=_state(number),
                seq=number,
                instant_us=NOW + number * 7 * HOUR,
                published_us=NOW + number,
                policy_id="" if number % 11 == 0 else POLICY.id,
                damaged="{}" if number % 8 == 0 else "",
            )
        )
    transaction.policies.hold(Hold(a_run(3).id, "lawsuit", NOW, 0))


def _due(number: int) -> int:
    """Hours before it was taken: often on another day."""
    return NOW + number * 7 * HOUR - number % 5 * 3 * HOUR


def _state(number: int) -> PointState:
    if number % 13 == 0:
        return PointState.DELETED
    return PointState.PUBLISHING if number % 17 == 0 else PointState.AVAILABLE


NOW_US = NOW + 400 * HOUR


def test_slices_say_of_each_point_what_one_reading_of_all_says(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SLICE", 8)

    def closure(transaction: Transaction) -> None:
        whole = plan_policy(transaction, Scope(policy_id=POLICY.id), POLICY.spec.retention, NOW_US, ZONE)
        slices = list(judged(transaction, POLICY.id, POLICY.spec.retention, NOW_US, ZONE))
        assert [(each.id, each.keep, each.reasons) for some in slices for each in some] == [
            (each.point.id, each.keep, each.reasons) for each in whole
        ]
        assert {each.keep for each in whole} == {True, False}
        assert len(slices) > 2 and max(map(len, slices)) < 8 + POINTS

    store.read_now(closure)


def test_periods_are_those_in_which_points_were_due_as_the_zone_names_them(store: Database) -> None:
    def named(transaction: Transaction) -> dict[str, str]:
        retention = replace(POLICY.spec.retention, keep_last=0, keep_daily=0, keep_hourly=POINTS)
        slices = judged(transaction, POLICY.id, retention, NOW_US, ZONE)
        return {each.id: why for some in slices for each in some for why in each.reasons if why.startswith("hourly")}

    found = store.read_now(named)
    moments = {a_run(n).id: _due(n) if n % 3 else NOW + n * 7 * HOUR for n in range(1, VMS * POINTS + 1)}
    assert len(found) > VMS
    for point_id, why in found.items():
        assert why == f"hourly {datetime_of(moments[point_id]).astimezone(ZONE):%Y-%m-%d %H}:00"


def test_of_some_vms_it_says_what_it_says_of_all(store: Database) -> None:
    def closure(transaction: Transaction) -> None:
        every = [each for some in judged(transaction, POLICY.id, POLICY.spec.retention, NOW_US) for each in some]
        two = {point.id for vm_id in ("vm-1", "vm-4") for point in transaction.points.points(vm_id=vm_id)}
        slices = judged(transaction, POLICY.id, POLICY.spec.retention, NOW_US, vm_ids=("vm-1", "vm-4"))
        assert [each for some in slices for each in some] == [each for each in every if each.id in two]

    store.read_now(closure)


def test_applying_a_file_reads_no_whole_point(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy may have made hundreds of thousands, and only their number is shown."""

    def going(transaction: Transaction) -> int:
        planned = plan_policy(transaction, Scope(policy_id=POLICY.id), POLICY.spec.retention, NOW_US)
        return sum(not each.keep for each in planned)

    expected = store.read_now(going)

    def points(*_: object, **__: object) -> None:
        raise AssertionError("a whole point is read")

    for name in ("points", "points_of", "_all"):
        monkeypatch.setattr(PointRows, name, points)
    (change,) = store.read_now(lambda transaction: plan_changes(transaction, [POLICY.spec], ManualClock(NOW_US)))
    assert change.points_to_delete == expected > 0


@pytest.mark.parametrize("room_bytes", [1 << 20, 4000])
def test_a_preview_shows_what_it_has_room_for_and_reads_no_more(
    store: Database, monkeypatch: pytest.MonkeyPatch, room_bytes: int
) -> None:
    monkeypatch.setattr(plan, "SLICE", 4)
    monkeypatch.setattr("seawall.controller.services.convert_forgetting.LARGEST_BYTES", room_bytes)
    read: list[str] = []
    real = PointRows.points_of

    def points_of(self: PointRows, point_ids: list[str]) -> object:
        read.extend(point_ids)
        return real(self, point_ids)

    monkeypatch.setattr(PointRows, "points_of", points_of)

    def closure(transaction: Transaction) -> None:
        retention = replace(POLICY.spec.retention, keep_last=4)
        whole = plan_policy(transaction, Scope(policy_id=POLICY.id), retention, NOW_US)
        found = shown_verdicts(transaction, judged(transaction, POLICY.id, retention, NOW_US))
        shown, every = found.verdicts, verdict_messages(transaction, whole)
        assert found.total == len(whole) and found.left_off == len(whole) - len(shown)
        assert found.going == sum(not each.keep for each in whole) and not found.going_left_off
        assert [each for each in shown if each in every] == shown
        assert sum(each.ByteSize() for each in shown) <= room_bytes
        if room_bytes > 4000:
            assert shown == every
        else:
            assert len(shown) < len(read) < found.total, "what there is no room for stays unread"

    store.read_now(closure)


def test_of_more_points_that_go_than_one_answer_names_the_first_are_shown_and_all_are_counted(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SLICE", 4)
    monkeypatch.setattr("seawall.controller.services.convert_forgetting.LARGEST_BYTES", 1000)

    def closure(transaction: Transaction) -> None:
        whole = plan_policy(transaction, Scope(policy_id=POLICY.id), POLICY.spec.retention, NOW_US)
        found = shown_verdicts(transaction, judged(transaction, POLICY.id, POLICY.spec.retention, NOW_US))
        shown = [each.point.point_id for each in found.verdicts]
        every = [each.point.id for each in whole if not each.keep]
        assert shown == every[: len(shown)] and 0 < len(shown) < len(every)
        assert (found.total, found.going) == (len(whole), len(every))
        assert found.going_left_off == len(every) - len(shown)
        assert found.left_off == len(whole) - len(shown)

    store.read_now(closure)
