"""What becomes of one firing for each VM: its place in the spread costs nobody the window, or the night."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.decision import Decision, Standing, What, fire
from support.policies import a_policy

NOMINAL = datetime(2026, 11, 24, 3, tzinfo=UTC)
VMS = [Standing(f"vm-{number}") for number in range(60)]
HOUR = timedelta(hours=1)


def fired(text: str = "", late: timedelta = timedelta(), **said: object) -> Sequence[Decision]:
    """Of a policy at three o'clock that spreads its starts over an hour, looked at so much later."""
    policy = a_policy(text)
    spec = replace(policy.spec, spread_seconds=None, **said)  # type: ignore[arg-type]
    compiled = Compiled.of(replace(policy, spec=spec))
    return fire(compiled, NOMINAL, VMS, NOMINAL + late, spread=compiled.rules.spread_from(NOMINAL))


def starts(decisions: Sequence[Decision]) -> list[timedelta]:
    """After the nominal time, sorted; each of them begins."""
    assert {each.what for each in decisions} == {What.BEGIN}
    return sorted(each.start - NOMINAL for each in decisions if each.start is not None)


def test_a_window_shorter_than_the_spread_takes_all_vms() -> None:
    found = starts(fired("windows: {from: 03:00, to: 03:20}"))
    assert found[0] >= timedelta() and timedelta(minutes=15) < found[-1] < timedelta(minutes=20)


def test_a_window_that_opens_later_takes_all_vms_too() -> None:
    found = starts(fired("windows: {from: 03:40, to: 04:00}"))
    assert timedelta(minutes=40) <= found[0] and found[-1] < timedelta(minutes=60)


def test_a_catch_up_shorter_than_the_spread_makes_nobody_late() -> None:
    assert starts(fired(catch_up_seconds=600))[-1] > timedelta(minutes=50)


def test_what_is_caught_up_at_the_last_moment_is_spread_from_then_on() -> None:
    found = starts(fired(late=23.5 * HOUR))
    assert found[0] >= 23.5 * HOUR and 24 * HOUR < found[-1] < 24.5 * HOUR


def test_a_window_that_opens_too_late_is_missed() -> None:
    assert {each.what for each in fired("windows: {from: 05:00, to: 06:00}", catch_up_seconds=3600)} == {What.MISS}
