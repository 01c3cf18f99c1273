"""What a preview promises: what the firing itself will decide, and an estimate of how long it takes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seawall.controller.admission.caps import Caps
from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.decision import Standing, What, fire
from seawall.controller.policies.doubts import doubts
from seawall.controller.policies.estimate import Load, estimated_seconds
from seawall.controller.policies.forecast import Firing, firings
from seawall.controller.records.limits import Limit, Measure, Scope, ScopeKey
from support.controller_records import a_vm
from support.policies import a_policy

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
VMS = [a_vm(f"vm-{number}", name=f"vm-{number}") for number in range(8)]
WEEKEND = "windows: {days: [sat, sun], from: 03:00, to: 05:00}\n"
CLOSED = "missed: No window of policy nightly opens within 24 h of the time when it was due."
OPEN_STILL = "skipped: The policy's last backup of this VM was not over yet."
WHOLE = ScopeKey(Scope.GLOBAL, "")
ALPHA, BETA = ScopeKey(Scope.HOST, "alpha"), ScopeKey(Scope.HOST, "beta")


def a_compiled(text: str = "", cron: str = "", **said: object) -> Compiled:
    policy = a_policy(text)
    return Compiled.of(replace(policy, spec=replace(policy.spec, cron=cron or policy.spec.cron, **said)))  # type: ignore[arg-type]


def shown(compiled: Compiled, count: int = 5) -> Sequence[Firing]:
    return firings(compiled, VMS, MONDAY, count)


def test_what_no_window_opens_for_in_time_is_missed() -> None:
    found = shown(a_compiled(WEEKEND, cron="0 1 * * *"), 7)
    assert [each.nothing for each in found] == [CLOSED] * 4 + ["", "", CLOSED]
    assert [(each.first_start, each.last_start) for each in found if each.nothing] == [(None, None)] * 5
    assert [each.first_start for each in found if not each.nothing] == [
        datetime(2026, 11, 28, 3, tzinfo=UTC),
        datetime(2026, 11, 29, 3, tzinfo=UTC),
    ]


@pytest.mark.parametrize("catch_up", [600, 3600, 24 * 3600, 100 * 3600])
def test_it_promises_what_the_firing_decides(catch_up: int) -> None:
    compiled = a_compiled(WEEKEND, cron="30 */6 * * *", catch_up_seconds=catch_up)
    begun: datetime | None = None
    for each in shown(compiled, 40):
        standings = [Standing(vm.id, "policy-1" if begun is not None and begun >= each.nominal else None) for vm in VMS]
        decided = fire(compiled, each.nominal, standings, each.nominal, spread=timedelta())
        assert {"": What.BEGIN, CLOSED[:6]: What.MISS, OPEN_STILL[:6]: What.SKIP}[each.nothing[:6]] is decided[0].what
        assert (each.first_start, each.last_start) == (decided[0].start, decided[0].start)
        begun = each.last_start or begun


def test_a_run_that_waits_for_the_window_is_in_the_next_ones_way() -> None:
    found = shown(a_compiled(WEEKEND, cron="0 1,2 * * *", catch_up_seconds=2 * 3600), 12)
    saturday = [each for each in found if each.nominal.weekday() == 5]
    assert [(each.first_start is not None, each.nothing) for each in saturday] == [(True, ""), (False, OPEN_STILL)]


def test_a_policy_without_vms_shows_its_firings() -> None:
    (first,) = firings(a_compiled(), [], MONDAY, 1)
    assert first.first_start == first.last_start == first.nominal
    assert firings(a_compiled(WEEKEND), [], MONDAY, 1)[0].first_start is None


def test_the_next_that_comes_in_time_is_found_however_many_are_missed_before() -> None:
    compiled = a_compiled(WEEKEND, cron="*/2 * * * *")
    assert compiled.rules.next_in_time(MONDAY) == datetime(2026, 11, 27, 3, tzinfo=UTC)
    assert not any("nothing would ever" in each for each in doubts(compiled.rules, [], VMS, {}, MONDAY))
    never = a_compiled(WEEKEND, cron="0 12 * * mon", catch_up_seconds=3600)
    assert never.rules.next_in_time(MONDAY) is None
    assert any("nothing would ever" in each for each in doubts(never.rules, [], VMS, {}, MONDAY))
    monthly = a_compiled(WEEKEND, cron="0 4 13 * *", catch_up_seconds=3600)
    assert monthly.rules.next_in_time(MONDAY) == datetime(2026, 12, 13, 4, tzinfo=UTC)


def loads(count: int, seconds: int, *hosts: ScopeKey) -> list[Load]:
    return [Load(0, seconds, (hosts[number % len(hosts)], WHOLE)) for number in range(count)]


def test_backups_share_the_places_of_their_hosts_that_are_not_kept_for_restores() -> None:
    # Three places a host, one of them kept.
    assert estimated_seconds(loads(10, 60, ALPHA), Caps()) == 300
    assert estimated_seconds(loads(10, 60, ALPHA, BETA), Caps()) == 150


def test_the_whole_fleet_has_places_too() -> None:
    few = Caps.of([Limit(Scope.GLOBAL, "", Measure.TRANSFERRING, 2)])
    assert estimated_seconds(loads(10, 60, ALPHA, BETA), few) == 600


def test_nothing_ends_before_its_longest_backup_and_its_last_start() -> None:
    assert estimated_seconds([*loads(3, 60, ALPHA), Load(0, 3600, (BETA, WHOLE))], Caps()) == 3600
    assert estimated_seconds([*loads(3, 60, ALPHA), Load(1800, 60, (BETA, WHOLE))], Caps()) == 1860
    assert estimated_seconds([], Caps()) == 0
