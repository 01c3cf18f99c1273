"""Retention of a whole policy in slices: the verdicts of one reading of everything, without ever holding everything; on every engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
from support.controller_clock import ManualClock
from support.controller_databases import ENGINES, open_engine
from support.controller_records import HOUR, NOW, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

POLICY = a_policy("retention: {last: 1, daily: 2}")
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
        run = a_run(number, state=RunState.SUCCEEDED, vm_id=vm_id, vm_name=f"db{9 - number % VMS}")
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
        whole = plan_policy(transaction, Scope(policy_id=POLICY.id), POLICY.spec.retention, NOW_US)
        slices = list(judged(transaction, POLICY.id, POLICY.spec.retention, NOW_US))
        assert [(each.id, each.keep, each.reasons) for some in slices for each in some] == [
            (each.point.id, each.keep, each.reasons) for each in whole
        ]
        assert {each.keep for each in whole} == {True, False}
        assert len(slices) > 2 and max(map(len, slices)) < 8 + POINTS

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
        shown, total = shown_verdicts(transaction, judged(transaction, POLICY.id, retention, NOW_US))
        every = verdict_messages(transaction, whole)
        assert total == len(whole)
        assert [each for each in shown if each in every] == shown
        assert sum(each.ByteSize() for each in shown) <= room_bytes
        if room_bytes > 4000:
            assert shown == every
        else:
            assert len(shown) < len(read) < total, "what there is no room for stays unread"

    store.read_now(closure)
