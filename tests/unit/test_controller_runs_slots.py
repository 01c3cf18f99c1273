"""Which slots of a refmap may be committed."""

import numpy as np
import pytest

from seawall.controller.errors import InvalidArgument
from seawall.controller.publishing.slots import ALLOWED_BYTES, PackFacts, SlotRef, Slots, check_size, missing_slots
from seawall.controller.publishing.unusable import doubtful_packs, unusable_slots
from seawall.controller.records.catalogue import Pack, PackState
from seawall.repository.format.slot_set import SlotSet
from support.controller_records import a_pack

OURS = a_pack(1, state=PackState.STORED)
LENGTHS = np.array([4096, 0, 65536, 8192], dtype=np.uint32)  # slot 1 holds nothing


def refmap(**packs: list[int]) -> Slots:
    return {bytes([int(name[1:])]) * 16: np.array(slots, dtype=np.uint16) for name, slots in packs.items()}


def facts(*packs: Pack) -> PackFacts:
    lengths = {pack.id: LENGTHS for pack in packs}
    return PackFacts("default", "alpha", {pack.id: pack for pack in packs}, lengths)


def slots(pack: Pack, *numbers: int) -> tuple[SlotRef, ...]:
    return tuple(SlotRef(pack.id, number) for number in numbers)


def test_stored_slots_of_the_hosts_own_packs_may_be_committed() -> None:
    assert missing_slots(refmap(p1=[0, 2, 3]), facts(OURS)) == ()


def test_slots_that_do_not_exist_are_missing() -> None:
    assert missing_slots(refmap(p1=[0, 1, 4, 60000]), facts(OURS)) == slots(OURS, 1, 4, 60000)


@pytest.mark.parametrize("state", [PackState.OPEN, PackState.VOID])
def test_packs_that_nobody_saw_stored_are_missing(state: PackState) -> None:
    pack = a_pack(1, state=state)
    assert missing_slots(refmap(p1=[0, 2]), facts(pack)) == slots(pack, 0, 2)
    assert missing_slots(refmap(p1=[0, 2]), facts()) == slots(pack, 0, 2)


def test_condemned_slots_are_missing() -> None:
    pack = a_pack(1, state=PackState.STORED, condemned=SlotSet.of((2, 9)))
    assert missing_slots(refmap(p1=[0, 2, 3]), facts(pack)) == slots(pack, 2)


def test_a_stored_pack_whose_table_is_gone_holds_nothing() -> None:
    lost = PackFacts("default", "alpha", {OURS.id: OURS}, {})
    assert missing_slots(refmap(p1=[0]), lost) == slots(OURS, 0)


def test_another_tenants_pack_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="another tenant"):
        missing_slots(refmap(p1=[0]), facts(a_pack(1, state=PackState.STORED, tenant="other")))


def test_another_hosts_pack_is_missing_until_somebody_verified_it() -> None:
    """It may hold anything under anybody's ids. Missing, not refused: the verification may have been taken back since the Lookup."""
    for looked in (0, -1):
        theirs = a_pack(2, "beta", state=PackState.STORED, verified_us=looked)
        assert missing_slots(refmap(p1=[0], p2=[0, 2]), facts(OURS, theirs)) == slots(theirs, 0, 2)
    verified = a_pack(2, "beta", state=PackState.STORED, verified_us=1)
    assert missing_slots(refmap(p2=[0, 2]), facts(verified)) == ()


def test_bad_slots_are_missing() -> None:
    pack = a_pack(1, state=PackState.STORED, bad=SlotSet.of((0,)), condemned=SlotSet.of((3,)), verified_us=-1)
    assert missing_slots(refmap(p1=[0, 2, 3]), facts(pack)) == slots(pack, 0, 3)


def test_a_parents_unusable_slots_are_told_when_the_attempt_begins() -> None:
    hurt = a_pack(1, state=PackState.STORED, bad=SlotSet.of((0, 9)))
    theirs = a_pack(2, "beta", state=PackState.STORED)
    shared = a_pack(3, "beta", state=PackState.STORED, verified_us=1)
    sound = a_pack(4, state=PackState.STORED)
    known = {pack.id: pack for pack in (hurt, theirs, shared, sound)}
    named = refmap(p1=[0, 2], p2=[5, 6], p3=[1], p4=[1], p5=[7])
    doubtful = doubtful_packs(frozenset(named), known, "alpha")
    assert doubtful == {hurt.id, theirs.id, bytes([5]) * 16}
    found = unusable_slots({one: named[one] for one in doubtful}, known, "alpha")
    assert {one: list(slots) for one, slots in found.items()} == {hurt.id: [0], theirs.id: [5, 6], bytes([5]) * 16: [7]}


def test_a_refmap_may_name_no_more_than_the_disks_hold() -> None:
    named = refmap(p1=[0, 2, 3])
    check_size(named, facts(OURS), 77_824)
    huge = PackFacts("default", "alpha", {OURS.id: OURS}, {OURS.id: LENGTHS.astype(np.uint64) * 1000})  # type: ignore[dict-item]
    check_size(named, huge, 77_824_000 - ALLOWED_BYTES)
    with pytest.raises(InvalidArgument, match="the disks allow"):
        check_size(named, huge, 50_000_000)
