"""The mark and what is decided from it, against sets of numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.collecting.live import LAST_ID, LiveSlots, ranges
from seawall.repository.collecting.plan import CollectSettings, Fate, decide
from seawall.repository.collecting.port import PackFacts, PackStanding
from seawall.repository.errors import RefmapInvalid
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

SETTINGS = CollectSettings()


def pack(number: int, slots: int = 10, **fields: object) -> PackFacts:
    facts = {"condemned": NO_SLOTS, "standing": PackStanding.STORED, "size_bytes": 1000, "meta": False} | fields
    return PackFacts(
        pack_id=bytes([number]) * 16,
        tenant="default",
        slots=slots,
        generation=0,
        **facts,  # type: ignore[arg-type]
    )


packs_of_slots = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(sizes=packs_of_slots, data=st.data(), range_slots=st.integers(1, 200))
def test_marks_are_the_union_of_the_refmaps(sizes: list[int], data: st.DataObject, range_slots: int) -> None:
    packs = [pack(number, slots) for number, slots in enumerate(sizes, start=1)]
    some = st.dictionaries(st.sampled_from(packs), st.sets(st.integers(0, 39), min_size=1), max_size=5)
    refmaps = [
        {one.pack_id: kept for one, slots in refmap.items() if (kept := {slot for slot in slots if slot < one.slots})}
        for refmap in data.draw(st.lists(some, max_size=4))
    ]
    found: dict[bytes, set[int]] = {}
    for after, live in ranges(lambda after: iter([one for one in packs if one.pack_id > after]), range_slots):
        for refmap in refmaps:
            arrays = {key: np.array(sorted(slots), dtype=np.uint16) for key, slots in sorted(refmap.items())}
            assert live.add(arrays, after) == ()
        for one in packs:
            if after < one.pack_id <= live.last:
                assert one.pack_id not in found, "ranges do not overlap"
                found[one.pack_id] = set(live.of(one.pack_id))
    assert found == {one.pack_id: {s for refmap in refmaps for s in refmap.get(one.pack_id, ())} for one in packs}


def test_the_last_range_covers_every_id() -> None:
    assert LiveSlots([pack(1)]).last == LAST_ID
    assert LiveSlots([pack(1), pack(2)], 10).last == pack(1).pack_id


def test_unknown_packs_and_slots_are_told() -> None:
    live = LiveSlots([pack(1), pack(3, standing=PackStanding.OPEN)])
    slots = np.array([9], dtype=np.uint16)
    assert live.add({pack(1).pack_id: slots, pack(2).pack_id: slots, pack(3).pack_id: slots}, b"") == (
        pack(2).pack_id,
        pack(3).pack_id,
    )
    with pytest.raises(RefmapInvalid, match="slot 10"):
        live.add({pack(1).pack_id: np.array([10], dtype=np.uint16)}, b"")


def test_ids_that_end_in_zeroes_are_told_apart() -> None:
    ids = [b"\x01" + bytes(15), b"\x01" + bytes(14) + b"\x01", b"\x01\x01" + bytes(14)]
    live = LiveSlots([PackFacts(one, "default", PackStanding.STORED, False, 1, 3, 0) for one in sorted(ids)])
    live.add({ids[1]: np.array([1], dtype=np.uint16)}, b"")
    assert [list(live.of(one)) for one in ids] == [[], [1], []]


SOME = SlotSet.of((0, 1, 2))


@pytest.mark.parametrize(
    ("facts", "live", "fate", "condemn"),
    [
        (pack(1), range(10), Fate.NEEDED, ()),
        (pack(1), (), Fate.CONDEMN_ALL, range(10)),
        (pack(1), range(3, 10), Fate.CONDEMN_SOME, (0, 1, 2)),
        (pack(1), range(1, 10), Fate.TOO_LITTLE, ()),
        (pack(1, in_use=True), (), Fate.IN_USE, ()),
        (pack(1, condemned=SOME, waiting=True), range(3, 10), Fate.WAITS, ()),
        (pack(1, condemned=SOME, waiting=True), range(8, 10), Fate.WAITS, ()),
        (pack(1, condemned=SOME, waiting=True), (), Fate.CONDEMN_ALL, range(3, 10)),
        (pack(1, condemned=SOME, waiting=True, ripe=True), range(3, 10), Fate.SHRINKS, ()),
        (pack(1, condemned=SlotSet.of(range(10)), waiting=True, ripe=True), (), Fate.GOES, ()),
        (pack(1, condemned=SlotSet.of(range(10)), waiting=True), (), Fate.WAITS, ()),
        (pack(1, condemned=SOME), range(3, 10), Fate.NEEDED, ()),
        (pack(1, condemned=SOME), range(4, 10), Fate.TOO_LITTLE, ()),
        (pack(1, condemned=SOME), range(5, 10), Fate.CONDEMN_SOME, (3, 4)),
        (pack(1, standing=PackStanding.OPEN), (), Fate.GIVEN_UP, ()),
        (pack(1, standing=PackStanding.OPEN, in_use=True), (), Fate.IN_USE, ()),
    ],
)
def test_what_becomes_of_a_pack(facts: PackFacts, live: range, fate: Fate, condemn: range) -> None:
    decision = decide(facts, SlotSet.of(live), SETTINGS)
    assert decision is not None
    assert (decision.fate, list(decision.slots)) == (fate, list(condemn))


@pytest.mark.parametrize("standing", [PackStanding.VOID, PackStanding.DELETED])
def test_packs_that_are_gone_are_not_spoken_of(standing: PackStanding) -> None:
    assert decide(pack(1, standing=standing), NO_SLOTS, SETTINGS) is None
