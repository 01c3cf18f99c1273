"""`run explain` of a run that its policy's windows hold back: which window, when it opens, and how not to wait for it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seawall.api.v1 import limits_pb2
from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.records.runs import Run
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.services.explaining import Explaining
from support.controller_clock import ManualClock
from support.controller_records import a_run
from support.policies import a_policy, add_policy, fleet_store
from support.policy_firing import FiringLeader

NOW_US = round(datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp() * 1_000_000)
"""Half past four on a Tuesday."""
HOUR_US = 3600 * 10**6
TWO_WINDOWS = (
    "windows: [{days: [mon, tue, wed, thu, fri], from: 03:00, to: 04:00}, {days: [sat], from: 00:00, to: 24:00}]"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with fleet_store(tmp_path) as found:
        yield found


@pytest.fixture
def waits(database: SqliteDatabase) -> Callable[..., limits_pb2.ExplainRunResponse]:
    """What is told of the policy's run of vm-1, which was due at three."""

    def told(windows: str, *, now_us: int = NOW_US, **fields: object) -> limits_pb2.ExplainRunResponse:
        add_policy(database, a_policy(windows, fired_us=NOW_US - 2 * HOUR_US))
        run = due(**fields)
        database.write_now(lambda transaction: transaction.runs.add_run(run))
        return explained(database, run, ManualClock(now_us))

    return told


def due(**fields: object) -> Run:
    due_us = NOW_US - HOUR_US * 3 // 2
    known = {"created_us": due_us, "not_before_us": due_us, "deadline_us": due_us + 24 * HOUR_US, "nominal_us": due_us}
    return a_run(1, vm_id="vm-1", policy_id="policy-1", **known | fields)


def explained(database: SqliteDatabase, run: Run, clock: ManualClock) -> limits_pb2.ExplainRunResponse:
    return asyncio.run(Explaining(database, FleetMirror(), SteadyClock(clock), clock).explain(run.id))


Waits = Callable[..., limits_pb2.ExplainRunResponse]


def test_the_window_that_just_closed_is_named_before_any_look_moved_the_run(waits: Waits) -> None:
    told = waits("windows: {from: 03:00, to: 04:00}")
    assert told.blocked_on.sentence == (
        "the window of policy nightly (daily 03:00 to 04:00) to open, Wed 2026-11-25 03:00 UTC"
    )
    (advice,) = told.advice
    assert "seawall backup 'db' --repo main" in advice


def test_of_several_windows_the_next_one_is_named(waits: Waits) -> None:
    friday_us = NOW_US + 3 * 24 * HOUR_US
    told = waits(TWO_WINDOWS, now_us=friday_us, nominal_us=friday_us - HOUR_US)
    assert told.blocked_on.sentence == (
        "the window of policy nightly (sat 00:00 to 24:00) to open, Sat 2026-11-28 00:00 UTC"
    )


def test_a_run_that_was_moved_tells_its_place_in_the_spread_too(database: SqliteDatabase) -> None:
    zone = "windows: {from: 03:00, to: 04:00}"
    policy = a_policy(zone, fired_us=NOW_US - 2 * HOUR_US)
    schedule = replace(policy.spec, zone="Europe/Berlin", spread_seconds=3600)
    add_policy(database, replace(policy, spec=schedule))
    run, clock = due(), ManualClock(NOW_US)
    database.write_now(lambda transaction: transaction.runs.add_run(run))
    asyncio.run(FiringLeader(database, clock, clock).closing.run_once())
    told = explained(database, run, clock).blocked_on.sentence
    assert told.startswith(
        "the window of policy nightly (daily 03:00 to 04:00) to open, Wed 2026-11-25 03:00 CET; its place"
    )
    assert "in the spread is 03:0" in told or "in the spread is 03:1" in told


def test_where_no_window_comes_in_time_it_says_so(waits: Waits) -> None:
    told = waits("windows: {days: [mon], from: 03:00, to: 04:00}")
    assert told.blocked_on.sentence.startswith("No window of policy nightly opens within 24 h")


@pytest.mark.parametrize("windows", ["", "windows: {from: 03:00, to: 05:00}"])
def test_a_window_that_is_open_holds_nobody_back(waits: Waits, windows: str) -> None:
    assert "window" not in waits(windows).blocked_on.sentence


def test_what_somebody_ordered_waits_for_no_window(waits: Waits) -> None:
    backup = due().backup
    assert backup is not None
    assert (
        "window"
        not in waits("windows: {from: 03:00, to: 04:00}", backup=replace(backup, asked=True)).blocked_on.sentence
    )


def test_who_is_held_back_takes_no_place_from_others(database: SqliteDatabase) -> None:
    """As in the scheduler's own look: nobody waits for a run that does not begin."""
    add_policy(database, a_policy("windows: {from: 03:00, to: 04:00}", fired_us=NOW_US))
    other = a_run(
        2, vm_id="vm-2", created_us=NOW_US, not_before_us=NOW_US, deadline_us=NOW_US + HOUR_US, policy_id="policy-2"
    )
    add_policy(database, a_policy(policy_id="policy-2", name="always"))
    database.write_now(lambda transaction: transaction.runs.add_runs([due(), other]))
    assert explained(database, other, ManualClock(NOW_US)).ahead == 0
