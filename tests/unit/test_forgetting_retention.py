"""Retention: which points a policy keeps and why, by example and by properties that hold for every history, with right and wrong clocks."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.forgetting.retention import (
    FUTURE,
    NEWEST,
    NO_RULE,
    NO_RULE_DAMAGED,
    PUBLISHING,
    Candidate,
    Policy,
    judge,
)
from seawall.controller.policies.cron import Calendar
from seawall.repository.clock import microseconds_of

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
NOW_US = int(datetime(2026, 11, 22, 23, 30, tzinfo=UTC).timestamp()) * 1_000_000


def point(number: int, when: str, **fields: object) -> Candidate:
    instant = datetime.fromisoformat(when).replace(tzinfo=UTC)
    return replace(Candidate(f"p{number}", number, int(instant.timestamp()) * 1_000_000), **fields)  # type: ignore[arg-type]


def kept(points: Sequence[Candidate], policy: Policy, now_us: int = NOW_US) -> dict[str, tuple[str, ...]]:
    return {each.id: each.reasons for each in judge(points, policy, now_us) if each.keep}


def gone(points: Sequence[Candidate], policy: Policy, now_us: int = NOW_US) -> set[str]:
    return {each.id for each in judge(points, policy, now_us) if not each.keep}


WEEK = [point(day, f"2026-11-{15 + day:02}T02:00") for day in range(1, 8)]  # Mon 16 to Sun 22 November


def test_the_newest_come_first_with_the_place_that_they_fill() -> None:
    verdicts = judge(WEEK, Policy(keep_last=2), NOW_US)
    assert [each.id for each in verdicts] == ["p7", "p6", "p5", "p4", "p3", "p2", "p1"]
    assert [each.reasons for each in verdicts[:3]] == [(NEWEST, "last 1"), ("last 2",), (NO_RULE,)]


@pytest.mark.parametrize(
    ("policy", "ids"),
    [
        (Policy(keep_hourly=2), {"e", "d"}),
        (Policy(keep_daily=2), {"e", "c"}),
        (Policy(keep_weekly=2), {"e", "b"}),
        (Policy(keep_monthly=2), {"e", "a"}),
        (Policy(keep_yearly=2), {"e", "z"}),
        (Policy(keep_yearly=9), {"e", "z"}),
        (Policy(keep_within_us=DAY_US), {"e", "d", "c"}),
        (Policy(keep_last=1, keep_monthly=2, keep_weekly=2), {"e", "b", "a"}),
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods(policy: Policy, ids: set[str]) -> None:
    history = [
        point(1, "2025-12-31T23:59", id="z"),
        point(2, "2026-10-31T23:59", id="a"),
        point(3, "2026-11-15T23:59", id="b"),  # a Sunday: the week before
        point(4, "2026-11-21T20:00", id="c"),
        point(5, "2026-11-22T18:10", id="d"),
        point(6, "2026-11-22T19:50", id="e"),
    ]
    assert set(kept(history, policy)) == ids


def test_periods_are_named_as_utc_and_iso_name_them() -> None:
    history = [point(1, "2027-01-01T00:00"), point(2, "2027-01-01T00:30")]
    now_us = NOW_US + 90 * DAY_US
    everything = Policy(keep_hourly=1, keep_daily=1, keep_weekly=1, keep_monthly=1, keep_yearly=1)
    names = ("hourly 2027-01-01 00:00", "daily 2027-01-01", "weekly 2026-W53", "monthly 2027-01", "yearly 2027")
    assert kept(history, everything, now_us) == {"p2": (NEWEST, *names)}


def test_periods_are_named_as_clocks_of_the_zone_show_them() -> None:
    history = [point(1, "2026-12-31T22:59"), point(2, "2026-12-31T23:30")]
    everything = Policy(keep_hourly=2, keep_daily=2, keep_weekly=1, keep_monthly=2, keep_yearly=2)
    berlin = {"p2": "2027-01-01 00:00", "p1": "2026-12-31 23:00"}
    for verdict in judge(history, everything, NOW_US + 90 * DAY_US, ZoneInfo("Europe/Berlin")):
        hour = berlin[verdict.id]
        weekly = ["weekly 2026-W53"] if verdict.id == "p2" else []
        names = [f"hourly {hour}", f"daily {hour[:10]}", *weekly, f"monthly {hour[:7]}", f"yearly {hour[:4]}"]
        assert list(verdict.reasons)[-len(names) :] == names


@pytest.mark.parametrize(
    ("zone", "cron", "start"),
    [
        # 00:30 UTC of that day in winter, 23:30 UTC of the day before in summer
        ("Europe/Berlin", "30 1 * * *", "2026-03-25"),
        ("America/New_York", "30 19 * * *", "2026-03-04"),
        ("Europe/Berlin", "30 1 * * *", "2026-10-20"),
    ],
)
def test_what_is_due_once_in_each_local_day_keeps_a_point_of_each(zone: str, cron: str, start: str) -> None:
    days = islice(Calendar(cron, ZoneInfo(zone)).firings(datetime.fromisoformat(f"{start}T00:00+00:00")), 9)
    taken = [Candidate(f"p{n}", n, microseconds_of(day) + 20_000_000) for n, day in enumerate(days)]
    now_us = taken[-1].instant_us + HOUR_US
    assert all(each.keep for each in judge(taken, Policy(keep_daily=14), now_us, ZoneInfo(zone)))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_few_seconds_of_waiting_around_midnight_cost_no_night(zone: str) -> None:
    """Due at 23:45, with a place in the spread a quarter of an hour later: taken on the same day or on the next, as the queue wills."""
    taken = []
    for number in range(14):
        nominal = datetime(2026, 6, 10 + number, 23, 45, tzinfo=ZoneInfo(zone))
        instant = nominal + timedelta(minutes=15, seconds=-10 if number % 2 else 10)
        taken.append(Candidate(f"p{number}", number, microseconds_of(instant), microseconds_of(nominal)))
    verdicts = judge(taken, Policy(keep_daily=14), NOW_US, ZoneInfo(zone))
    assert all(each.keep for each in verdicts)
    assert verdicts[0].reasons == (NEWEST, "daily 2026-06-23") and verdicts[-1].reasons == ("daily 2026-06-10",)


def test_times_of_a_controller_whose_clock_was_behind_take_no_older_point_s_place() -> None:
    """For two nights it was ten days behind: the true points of those days stay, and the nights count when they were taken."""
    days = [(day, day) for day in range(1, 22)] + [(12, 22), (13, 23)]
    history = [
        replace(point(number, f"2026-11-{taken:02}T03:00"), nominal_us=point(0, f"2026-11-{due:02}T03:00").instant_us)
        for number, (due, taken) in enumerate(days, start=1)
    ]
    assert gone(history, Policy(keep_daily=30)) == set()


def test_of_two_points_of_one_nominal_day_the_newer_one_is_kept() -> None:
    """A second try, after midnight; and that of the next day, which began after midnight too."""
    history = (("01T23:00", "01T23:05"), ("01T23:00", "02T00:30"), ("02T23:00", "03T00:10"))
    taken = [
        replace(point(number, f"2026-11-{instant}"), nominal_us=point(0, f"2026-11-{nominal}").instant_us)
        for number, (nominal, instant) in enumerate(history, start=1)
    ]
    assert gone(taken, Policy(keep_daily=9)) == {"p1"}


def test_what_was_due_in_the_future_belongs_to_the_day_on_which_it_was_taken() -> None:
    """The controller's clock was years ahead for a moment."""
    due = point(0, "2031-01-01T02:00").instant_us
    history = [*WEEK[:-2], *(replace(each, nominal_us=due) for each in WEEK[-2:])]
    assert kept(history, Policy(keep_daily=7)) == {
        each.id: (*((NEWEST,) if each is WEEK[-1] else ()), f"daily 2026-11-{15 + number}")
        for number, each in enumerate(WEEK, start=1)
    }


def test_both_hours_in_which_clocks_show_the_same_keep_their_point() -> None:
    """Berlin shows 02:00 to 03:00 twice on 25 October 2026, Lord Howe half of an hour on 5 April."""
    for zone, first in (("Europe/Berlin", "2026-10-24T22:30"), ("Australia/Lord_Howe", "2026-04-04T12:15")):
        begin = datetime.fromisoformat(first).replace(tzinfo=UTC)
        hours = [begin + timedelta(hours=number) for number in range(5)]
        taken = [Candidate(f"p{number}", number, microseconds_of(hour)) for number, hour in enumerate(hours)]
        verdicts = judge(taken, Policy(keep_hourly=5), NOW_US, ZoneInfo(zone))
        assert all(each.keep for each in verdicts), zone
        named = [each.reasons[-1].removeprefix("hourly ") for each in verdicts]
        assert len(set(named)) == 5
        if zone == "Europe/Berlin":
            assert named[1:3] == ["2026-10-25 02:00 +01:00", "2026-10-25 02:00 +02:00"]


def test_a_policy_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="every point"):
        judge(WEEK, Policy(), NOW_US)


def test_within_counts_from_the_newest_point_so_a_vm_that_is_backed_up_no_more_keeps_its_points() -> None:
    assert set(kept(WEEK, Policy(keep_within_us=2 * DAY_US), NOW_US + 3650 * DAY_US)) == {"p7", "p6", "p5"}


def test_points_from_the_future_are_kept_and_take_no_place() -> None:
    history = [*WEEK, point(8, "2031-01-01T00:00")]
    assert kept(history, Policy(keep_last=1)) == {"p8": (FUTURE,), "p7": (NEWEST, "last 1")}


def test_a_controller_whose_clock_was_reset_deletes_nothing() -> None:
    assert set(kept(WEEK, Policy(keep_last=1), now_us=0).values()) == {(FUTURE,)}


def test_the_newest_point_is_kept_although_its_hosts_clock_says_1970() -> None:
    history = [*WEEK, point(8, "1970-01-01T00:10")]
    assert kept(history, Policy(keep_within_us=HOUR_US)) == {"p8": (NEWEST,), "p7": ("within",)}


def test_what_is_in_use_or_not_published_stays_and_says_so() -> None:
    history = [*WEEK, point(8, "2026-11-22T23:00", open=True)]
    history[0] = replace(history[0], in_use="restore run 0192")
    answer = kept(history, Policy(keep_last=1))
    assert answer == {"p8": (PUBLISHING,), "p7": (NEWEST, "last 1"), "p1": ("in use by restore run 0192",)}


def test_a_damaged_point_takes_no_place_of_a_whole_one() -> None:
    history = [*WEEK[:-1], replace(WEEK[-1], damaged=True)]
    assert set(kept(history, Policy(keep_last=2))) == {"p7", "p6", "p5"}
    old = judge([replace(WEEK[0], damaged=True), *WEEK[1:]], Policy(keep_last=2), NOW_US)[-1]
    assert (old.id, old.reasons) == ("p1", (NO_RULE_DAMAGED,))


instants = st.integers(0, NOW_US + 400 * DAY_US) | st.integers(NOW_US - 40 * DAY_US, NOW_US)
histories = st.lists(
    st.builds(
        Candidate,
        id=st.uuids(version=4).map(str),
        seq=st.integers(1, 60),
        instant_us=instants,
        nominal_us=st.just(0) | instants,
        open=st.sampled_from([False, False, False, True]),
        damaged=st.sampled_from([False, False, False, True]),
        in_use=st.sampled_from(["", "", "", "run 1"]),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)
counts = st.sampled_from([0, 0, 1, 2, 5, 30])
policies = st.builds(
    Policy,
    keep_last=counts,
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
    keep_within_us=st.sampled_from([0, 0, HOUR_US, 30 * DAY_US]),
).filter(lambda policy: not policy.keeps_nothing)
RULES = [f"keep_{rule}" for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within_us")]


@given(histories, policies, st.sampled_from(RULES), st.integers(1, DAY_US))
def test_a_rule_that_is_added_or_raised_never_deletes_more(
    history: list[Candidate], policy: Policy, rule: str, more: int
) -> None:
    raised = replace(policy, **{rule: getattr(policy, rule) + more})
    assert gone(history, raised) <= gone(history, policy)


@given(histories, policies)
def test_every_point_gets_one_verdict_with_a_reason_and_what_goes_may_go(
    history: list[Candidate], policy: Policy
) -> None:
    verdicts = judge(history, policy, NOW_US)
    assert sorted(each.id for each in verdicts) == sorted(each.id for each in history)
    assert all(each.reasons and len(set(each.reasons)) == len(each.reasons) for each in verdicts)
    by_id = {each.id: each for each in history}
    for verdict in verdicts:
        candidate = by_id[verdict.id]
        if not verdict.keep:
            assert not (candidate.open or candidate.in_use or candidate.instant_us > NOW_US + HOUR_US)


@given(histories, policies)
def test_a_vm_that_had_a_whole_point_keeps_its_newest_whole_one(history: list[Candidate], policy: Policy) -> None:
    whole = [each for each in history if not (each.open or each.damaged)]
    if whole:
        newest = max(whole, key=lambda each: (each.seq, each.id))
        assert newest.id in kept(history, policy)


@given(histories, policies)
def test_to_forget_twice_is_to_forget_once(history: list[Candidate], policy: Policy) -> None:
    left = [each for each in history if each.id in kept(history, policy)]
    assert gone(left, policy) == set()


@given(histories, st.integers(1, 10))
def test_no_rule_gives_more_places_than_it_has(history: list[Candidate], most: int) -> None:
    whole = [replace(each, damaged=False, in_use="") for each in history]
    for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
        reasons = [why for some in kept(whole, Policy(**{f"keep_{rule}": most})).values() for why in some]
        assert sum(why.startswith(rule) for why in reasons) <= most
