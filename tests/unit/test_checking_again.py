"""Points that are checked again: what each needs is read back unless that was done lately; large ones in several checks."""

from dataclasses import replace

import pytest

from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.port import PackFacts
from seawall.repository.checking.schedule import Due, Rhythm, Standing, next_check
from seawall.repository.format.layout import PointName, manifest_name
from support.checked_world import FULL, CheckedWorld, checked_world
from support.rescue_world import VM, point_id

ONE, TWO = (PointName("default", str(VM), point_id(number)) for number in (1, 2))


@pytest.fixture
def checked() -> CheckedWorld:
    """Both points are proven."""
    made = checked_world()
    assert made.check(FULL).proven_points == 2
    return made


def newest(checked: CheckedWorld) -> int:
    """When a pack was last looked at."""
    return max(pack.looked_us for pack in checked.ledger.stored.values())


def again(*points: PointName, after_us: int, limit_bytes: int = 1 << 40) -> CheckRequest:
    """All that was read until then is read again."""
    return CheckRequest(structure=False, points=points, before_us=after_us + 1, limit_bytes=limit_bytes)


def needed(checked: CheckedWorld, name: PointName) -> list[PackFacts]:
    slots = checked.world.repository.read_refmap(name.tenant, name.vm_id, name.point_id).slots()
    return [checked.ledger.stored[pack_id] for pack_id in slots]


def test_all_that_a_point_needs_is_read_and_nothing_else(checked: CheckedWorld) -> None:
    last = newest(checked)
    others = {pack.id for pack in needed(checked, TWO)} - {pack.id for pack in needed(checked, ONE)}
    result = checked.check(again(ONE, after_us=last))
    assert (result.packs, result.points) == (len(needed(checked, ONE)), 1)
    assert all(pack.looked_us > last for pack in needed(checked, ONE))
    assert others and all(checked.ledger.stored[pack_id].looked_us <= last for pack_id in others)
    assert checked.ledger.read_back[ONE] == min(pack.looked_us for pack in needed(checked, ONE))


def test_what_was_read_lately_is_not_read_again(checked: CheckedWorld) -> None:
    last = newest(checked)
    assert checked.check(again(ONE, after_us=last)).packs
    second = checked.check(again(TWO, after_us=last))
    assert 0 < second.packs < len(needed(checked, TWO)), "they share the first one's"
    third = checked.check(again(ONE, TWO, after_us=last))
    assert (third.packs, third.points) == (0, 2), "their structure is looked at all the same"


def test_a_point_that_is_too_large_for_one_check_is_done_in_several(checked: CheckedWorld) -> None:
    last, rounds = newest(checked), 0
    before = dict(checked.ledger.read_back)
    while checked.ledger.read_back == before:
        result = checked.check(again(TWO, after_us=last, limit_bytes=1))
        assert (result.packs, rounds) <= (1, 20)
        rounds += 1
    assert rounds == len(needed(checked, TWO)) > 1


def test_damage_marks_the_point_and_its_repair_unmarks_it(checked: CheckedWorld) -> None:
    copy = checked.copied()
    (pack, *_) = [each for each in needed(checked, ONE) if not each.meta]
    checked.store.delete(checked.name(pack))
    found = checked.check(again(ONE, after_us=newest(checked)))
    assert [finding.reason.value for finding in found.findings] == ["PACK_MISSING"]
    assert checked.ledger.proved_points[ONE] is False and checked.damage_of(ONE.point_id) is not None
    checked.heal(copy)
    assert checked.check(again(ONE, after_us=newest(checked))).findings_total == 0
    assert checked.ledger.proved_points[ONE] is True and checked.damage_of(ONE.point_id) is None


def test_a_manifest_that_is_gone_is_found_and_the_check_counts(checked: CheckedWorld) -> None:
    checked.store.delete(manifest_name(*_parts(TWO)))
    before = checked.ledger.read_back[TWO]
    found = checked.check(again(TWO, ONE, after_us=newest(checked)))
    assert [finding.reason.value for finding in found.findings] == ["MANIFEST_MISSING"]
    assert checked.ledger.proved_points == {ONE: True, TWO: False}
    assert checked.ledger.read_back[TWO] > before, "it is not due again at once"


def test_a_point_that_was_deleted_meanwhile_says_nothing(checked: CheckedWorld) -> None:
    del checked.ledger.available[ONE]
    for each in (manifest_name(*_parts(ONE)),):
        checked.store.delete(each)
    assert checked.check(again(ONE, after_us=newest(checked))).findings_total == 0
    assert checked.ledger.proved_points[ONE] is True


def test_points_take_the_time_between_new_packs_and_the_even_rate() -> None:
    second = 1_000_000
    now = 100 * 86_400 * second
    idle = Standing(now, 0, False, None, now - 3600 * second, now - second, 0)
    assert next_check(idle, Rhythm()) is None
    due = replace(idle, points_due=True)
    assert next_check(due, Rhythm()) == Due("policy", Rhythm().new_bytes)
    new = replace(due, new=True)
    assert next_check(new, Rhythm()) == Due("new", Rhythm().new_bytes)
    assert next_check(replace(new, last_new_end_us=now - second), Rhythm()) == Due("policy", Rhythm().new_bytes)
    assert next_check(replace(due, last_policy_failed_us=now - second), Rhythm()) is None


def _parts(name: PointName) -> tuple[str, str, str]:
    return name.tenant, name.vm_id, name.point_id
