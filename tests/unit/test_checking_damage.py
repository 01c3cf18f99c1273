"""Damage of every kind is found, named with the points that it costs, and healed from a copy."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.finding import Reason
from seawall.repository.checking.pack import LONGEST_PACK_BYTES
from seawall.repository.checking.port import PackFacts
from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.errors import ForeignRepository, StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.format.pack import PackBuilder, parse_table
from seawall.repository.format.pack_layout import FOOTER_BYTES, TABLE_ENTRY, hashes_bytes_of
from seawall.repository.format.record import ChunkType, seal_record
from seawall.repository.store.memory import MemoryStore
from support.checked_world import FULL, CheckedWorld, checked_world
from support.point_writing import manifest_of
from support.rescue_world import LINEAGE, RescueWorld, point_id

BOTH = {point_id(1), point_id(2)}


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


def table_at(body: bytes) -> int:
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    return len(body) - FOOTER_BYTES - hashes_bytes_of(len(table)) - len(table) * TABLE_ENTRY.itemsize


def list_at(body: bytes) -> int:
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    return len(body) - FOOTER_BYTES - hashes_bytes_of(len(table))


@dataclass(frozen=True)
class Kind:
    """`bad`: how many slots become bad, -1: all of the pack's."""

    name: str
    damage: Callable[[bytes], bytes]
    reason: Reason
    bad: int


KINDS = (
    Kind("body of the first record", lambda body: flipped(body, 96 + 40), Reason.CHUNKS_DAMAGED, 1),
    Kind("header of the first record", lambda body: flipped(body, 48 + 20), Reason.PACK_DAMAGED, 0),
    Kind("check of that header", lambda body: flipped(body, 48 + 36), Reason.PACK_DAMAGED, 0),
    Kind("header of the pack", lambda body: flipped(body, 20), Reason.PACK_DAMAGED, 0),
    Kind("its version", lambda body: flipped(body, 9), Reason.PACK_DAMAGED, 0),
    Kind("table", lambda body: flipped(body, table_at(body) + 5), Reason.PACK_DAMAGED, 0),
    Kind("sealed key of the list", lambda body: flipped(body, list_at(body) + 3), Reason.CHUNKS_DAMAGED, -1),
    Kind("sealed list", lambda body: flipped(body, list_at(body) + 120), Reason.CHUNKS_DAMAGED, -1),
    Kind("footer", lambda body: flipped(body, len(body) - 60), Reason.PACK_DAMAGED, 0),
    Kind("last byte", lambda body: flipped(body, len(body) - 1), Reason.PACK_DAMAGED, 0),
    Kind("cut in the middle", lambda body: body[: len(body) // 2], Reason.CHUNKS_DAMAGED, -1),
    Kind("cut by a byte", lambda body: body[:-1], Reason.CHUNKS_DAMAGED, -1),
    Kind("a byte more", lambda body: body + b"\x00", Reason.CHUNKS_DAMAGED, -1),
    Kind("empty", lambda body: b"", Reason.CHUNKS_DAMAGED, -1),
    Kind("zeroes", lambda body: bytes(len(body)), Reason.CHUNKS_DAMAGED, -1),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damage_in_a_pack_is_found_named_and_healed(checked: CheckedWorld, kind: Kind) -> None:
    copy, pack = checked.copied(), checked.data_pack()
    name = checked.name(pack)
    checked.replace(name, kind.damage(checked.store.get(name)))
    result = checked.check()
    assert [(one.reason, one.object_name) for one in result.findings] == [(kind.reason, name)]
    expected = pack.slots if kind.bad < 0 else kind.bad
    now = checked.ledger.stored[pack.id]
    assert (len(now.bad), now.whole, result.bad_slots) == (expected, False, expected)
    assert set(result.findings[0].points) == (BOTH if expected else set())
    for made in BOTH:
        damage = checked.damage_of(made)
        assert (damage is not None) == (expected > 0)
        assert damage is None or (damage.chunks, damage.packs) == (expected, (pack.id,))
    again = checked.check()  # nothing new, and nothing forgotten
    assert (again.bad_slots, again.findings) == (0, result.findings)
    healed = checked.heal(copy)
    assert (healed.healed_packs, healed.healed_slots, healed.still_bad_packs, healed.findings) == (1, expected, 0, ())
    now = checked.ledger.stored[pack.id]
    assert (now.generation, now.whole, len(now.bad)) == (1, True, 0)
    assert checked.store.get(checked.name(now)) == copy.get(name)
    assert [info.name for info in checked.store.list("v1/p/") if pack.id.hex() in info.name] == [checked.name(now)]
    assert all(checked.damage_of(made) is None for made in BOTH)
    assert checked.check().findings == ()
    assert checked.check_restores() == ()


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[5], KINDS[10], KINDS[14]], ids=lambda kind: kind.name)
@pytest.mark.parametrize("pack_of", [CheckedWorld.data_pack, CheckedWorld.meta_pack], ids=["data", "meta"])
def test_what_the_store_does_not_let_go_of_is_told_and_passed_over(
    checked: CheckedWorld,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    pack_of: Callable[[CheckedWorld], PackFacts],
) -> None:
    """Object Lock keeps the altered object: readers come to it first, for ever."""
    copy, pack = checked.copied(), pack_of(checked)
    names = [checked.name(pack, generation) for generation in pack.generations]
    for name in names:
        checked.replace(name, kind.damage(checked.store.get(name)))
    checked.check()
    with monkeypatch.context() as patch:
        patch.setattr(checked.store, "delete", refused)
        result = checked.heal(copy)
    assert (result.healed_packs, result.still_bad_packs, result.damaged_points) == (1, 0, 0)
    assert [(one.reason, one.object_name) for one in result.findings] == [
        (Reason.OLDER_ALTERED, name) for name in names
    ]
    assert all("locked" in one.sentence and "repo collect" in one.next_step for one in result.findings)
    found = checked.check().findings
    assert [(one.reason, one.object_name) for one in found] == [(Reason.OLDER_ALTERED, name) for name in names]
    passed_over = checked.check_restores()
    assert all(one.startswith(tuple(names)) for one in passed_over)
    assert pack.meta or (kind.reason is Reason.PACK_DAMAGED) == (passed_over == ())
    assert checked.heal(copy).findings == ()
    assert checked.check().findings == () == checked.check_restores()


def refused(name: str) -> None:
    raise StoreRefused(f"DELETE {name}: locked until next year")


def test_an_older_generation_that_is_whole_is_no_finding(checked: CheckedWorld) -> None:
    """A compaction, or a healing, that died before it removed it: collection does."""
    copy, pack = checked.copied(), checked.data_pack()
    checked.store.delete(checked.name(pack))
    checked.check()
    checked.heal(copy)
    checked.store.put(checked.name(pack), copy.get(checked.name(pack)))
    assert checked.check().findings == ()
    checked.replace(checked.name(pack), flipped(copy.get(checked.name(pack)), len(copy.get(checked.name(pack))) - 60))
    for request in (FULL, CheckRequest()):
        assert [one.reason for one in checked.check(request).findings] == [Reason.OLDER_ALTERED]
    assert checked.check(CheckRequest(structure=False, read_data_percent=100)).findings == ()


def test_of_a_share_older_generations_are_read_of_the_packs_that_are_read(
    checked: CheckedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same turns: a few small checks read all of them once, and none reads all at once."""
    packs = [pack for pack in checked.ledger.stored.values() if not pack.meta]
    for pack in packs:
        body = checked.store.get(checked.name(pack))
        checked.store.put(checked.name(pack, 1), body)
        checked.ledger.stored[pack.id] = replace(pack, generation=1, generation_hash=pack.id)
        checked.replace(checked.name(pack, 0), flipped(body, 96 + 40))
    first, read = {checked.name(pack, 0) for pack in packs}, whole_reads(checked, monkeypatch)
    assert checked.check(CheckRequest()).findings == () and not first & set(read)
    found: list[str] = []
    while len(found) < len(packs):
        before = {pack.id: checked.ledger.stored[pack.id].looked_us for pack in packs}
        read.clear()
        result = checked.check(CheckRequest(read_data_percent=10))
        turn = [pack for pack in packs if checked.ledger.stored[pack.id].looked_us != before[pack.id]]
        older = sorted(checked.name(pack, 0) for pack in turn)
        assert sorted(first & set(read)) == older
        assert sorted(one.object_name for one in result.findings) == older
        assert {one.reason for one in result.findings} <= {Reason.OLDER_ALTERED}
        found += older
    assert len(set(found)) == len(packs) > 2
    assert len(checked.check().findings) == len(packs)


def whole_reads(checked: CheckedWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the packs that are read whole from now on, once for each time."""
    read: list[str] = []
    get_range = checked.store.get_range

    def noted(name: str, offset: int, length: int) -> bytes:
        if length > LONGEST_PACK_BYTES:
            read.append(name)
        return get_range(name, offset, length)

    monkeypatch.setattr(checked.store, "get_range", noted)
    return read


def test_an_altered_older_generation_stays_while_the_later_one_is_not_whole(checked: CheckedWorld) -> None:
    """It may hold what the later one lost: a reader takes each chunk from where it is whole."""
    copy, pack = checked.copied(), checked.data_pack()
    name = checked.name(pack)
    checked.store.delete(name)
    checked.check()
    checked.heal(copy)
    later = checked.name(checked.data_pack())
    body = copy.get(name)
    checked.store.put(name, flipped(body, 96 + 40))
    checked.replace(later, flipped(body, table_at(body) - 5))
    assert checked.heal(copy_without(checked, pack.id)).healed_packs == 0
    assert checked.store.get(name) != body
    assert [one.split(":")[0] for one in checked.check_restores()] == [name]


def test_what_is_lost_is_told_by_disk_and_place(checked: CheckedWorld) -> None:
    pack, offset, start, length = checked.world.chunk_place(point_id(1), "vda", 1, 2)
    checked.world.flip(pack, offset + 40)
    checked.check()
    damage = checked.damage_of(point_id(2))
    assert damage is not None
    assert (damage.disks, damage.bytes) == ({"vda": ((start, length),)}, length)


def test_only_points_that_need_what_is_lost_are_named(checked: CheckedWorld) -> None:
    fresh = [pack for pack in checked.ledger.stored.values() if not pack.meta and pack.slots == 1]
    assert len(fresh) == 1  # the one chunk that the second point added
    checked.store.delete(checked.name(fresh[0]))
    result = checked.check()
    assert [(one.reason, one.points) for one in result.findings] == [(Reason.PACK_MISSING, (point_id(2),))]
    assert checked.damage_of(point_id(1)) is None


def test_a_missing_pack_is_found_without_reading_data(checked: CheckedWorld) -> None:
    pack = checked.data_pack()
    checked.store.delete(checked.name(pack))
    result = checked.check(CheckRequest())
    assert [one.reason for one in result.findings] == [Reason.PACK_MISSING]
    assert len(checked.ledger.stored[pack.id].bad) == pack.slots
    assert result.points == 2
    assert checked.heal(copy_without(checked, pack.id)).findings[0].reason is Reason.NOT_IN_COPY


def copy_without(checked: CheckedWorld, pack_id: bytes) -> MemoryStore:
    copy = checked.copied()
    for info in [info for info in copy.list("v1/p/") if pack_id.hex() in info.name]:
        copy.delete(info.name)
    return copy


def test_swapped_packs_are_found_and_healed(checked: CheckedWorld) -> None:
    copy, one, other = checked.copied(), checked.data_pack(0), checked.data_pack(1)
    checked.replace(checked.name(one), copy.get(checked.name(other)))
    checked.replace(checked.name(other), copy.get(checked.name(one)))
    result = checked.check()
    assert {one.reason for one in result.findings} >= {Reason.PACK_FOREIGN}
    assert all(len(checked.ledger.stored[pack.id].bad) == pack.slots for pack in (one, other))
    assert checked.heal(copy).healed_packs == 2
    assert checked.check().findings == ()


def swapped_later_generations(checked: CheckedWorld) -> tuple[PackFacts, PackFacts]:
    """Two healed packs whose objects changed places."""
    copy = checked.copied()
    for pack in (checked.data_pack(0), checked.data_pack(1)):
        checked.store.delete(checked.name(pack))
    checked.check()
    checked.heal(copy)
    one, other = checked.data_pack(0), checked.data_pack(1)
    assert (one.generation, other.generation) == (1, 1)
    bodies = checked.store.get(checked.name(one)), checked.store.get(checked.name(other))
    checked.replace(checked.name(one), bodies[1])
    checked.replace(checked.name(other), bodies[0])
    return one, other


def test_swapped_packs_of_a_later_generation_are_found_by_their_hash(checked: CheckedWorld) -> None:
    """Which the catalogue noted: no manifest is looked at, and none is believed against bytes that are known."""
    copy = checked.copied()
    one, other = swapped_later_generations(checked)
    result = checked.check(CheckRequest(structure=False, read_data_percent=100))
    assert {finding.reason for finding in result.findings} == {Reason.PACK_FOREIGN}
    assert {pack.id: len(pack.bad) for pack in checked.ledger.damaged_packs()} == {
        pack.id: pack.slots for pack in (one, other)
    }
    assert checked.heal(copy).healed_packs == 2
    assert checked.check().findings == ()


def test_swapped_packs_of_a_later_generation_are_found_by_their_manifests(checked: CheckedWorld) -> None:
    """Where nobody knows their hash only the manifests tell what a slot must hold. Rolling verification must not take the marks back."""
    copy = checked.copied()
    one, other = swapped_later_generations(checked)
    for pack in (one, other):
        checked.ledger.stored[pack.id] = replace(pack, generation_hash=b"")
    assert Reason.ENTRY_DIFFERS in {one.reason for one in checked.check().findings}
    before = {pack.id: len(pack.bad) for pack in checked.ledger.damaged_packs()}
    assert set(before) == {one.id, other.id}
    checked.check(CheckRequest(structure=False, read_data_percent=100))
    assert {pack.id: len(pack.bad) for pack in checked.ledger.damaged_packs()} == before
    assert checked.heal(copy).healed_packs == 2
    assert checked.check().findings == ()


def test_rubbish_under_a_victims_id_is_false_and_never_verified(checked: CheckedWorld) -> None:
    """A hostile agent knows the victim's plaintext's hash from a guess, and stores other bytes under the id that follows from it."""
    world = checked.world
    h = chunk_hash(world.settings.k_dedup, b"the victim's" * 999)
    builder = PackBuilder(LINEAGE, world.secrets.repository_public_key, meta=False)
    honest = b"harmless" * 1000
    builder.add(seal_record(LINEAGE, h, b"rubbish" * 999, ChunkType.DATA, 1))
    builder.add(seal_record(LINEAGE, chunk_hash(world.settings.k_dedup, honest), honest, ChunkType.DATA, 1))
    pack = builder.seal()
    name = pack_name("default", pack.pack_id, 0)
    checked.store.put(name, bytes(pack.body))
    facts = checked.data_pack()
    checked.ledger.stored[pack.pack_id] = type(facts)(pack.pack_id, "default", False, 0, len(pack.body), 2)
    result = checked.check()
    assert [(one.reason, one.object_name, one.points) for one in result.findings] == [(Reason.CHUNKS_FALSE, name, ())]
    now = checked.ledger.stored[pack.pack_id]
    assert (list(now.bad), now.whole) == ([0], False)


def test_a_lost_copy_of_a_meta_pack_costs_nothing_yet(checked: CheckedWorld) -> None:
    copy, pack = checked.copied(), checked.meta_pack()
    checked.store.delete(checked.name(pack, 1))
    result = checked.check()
    assert [(one.reason, one.object_name) for one in result.findings] == [(Reason.COPY_MISSING, checked.name(pack, 1))]
    assert len(checked.ledger.stored[pack.id].bad) == 0
    assert checked.heal(copy).healed_packs == 1
    assert checked.ledger.stored[pack.id].generations == (2, 3)
    assert checked.check().findings == ()


@pytest.mark.parametrize("generation", [0, 1])
def test_a_damaged_copy_of_a_meta_pack_costs_nothing_yet(checked: CheckedWorld, generation: int) -> None:
    name = checked.name(checked.meta_pack(), generation)
    checked.replace(name, flipped(checked.store.get(name), 140))
    result = checked.check()
    assert [(one.reason, one.object_name) for one in result.findings] == [(Reason.COPY_DAMAGED, name)]
    assert checked.damage_of(point_id(1)) is None


def test_a_page_lost_in_both_copies_costs_its_range(checked: CheckedWorld) -> None:
    copy, reader = checked.copied(), checked.world.readers[point_id(1)]
    page = reader.page(manifest_of(reader), 0).chunk
    assert page is not None
    for generation in (0, 1):
        checked.world.flip(pack_name("default", page.pack_id, generation), page.offset + 30)
    result = checked.check()
    assert {Reason.PAGE_DAMAGED, Reason.CHUNKS_DAMAGED} == {one.reason for one in result.findings}
    assert list(checked.ledger.stored[page.pack_id].bad) == [page.slot]
    damage = checked.damage_of(point_id(1))
    assert damage is not None
    assert damage.disks == {"vda": ((0, 64 << 20),)}
    assert checked.heal(copy).still_bad_packs == 0
    assert checked.check().findings == ()


def test_what_comes_back_by_itself_is_whole_again(checked: CheckedWorld) -> None:
    copy, pack = checked.copied(), checked.data_pack()
    checked.store.delete(checked.name(pack))
    assert checked.check().damaged_points == 2
    checked.replace(checked.name(pack), copy.get(checked.name(pack)))
    result = checked.check()
    assert (result.recovered_packs, result.damaged_points, result.findings) == (1, 0, ())
    assert checked.ledger.stored[pack.id].whole
    assert checked.damage_of(point_id(1)) is None


def test_a_copy_that_is_damaged_too_does_not_heal(checked: CheckedWorld) -> None:
    pack = checked.data_pack()
    name = checked.name(pack)
    checked.replace(name, flipped(checked.store.get(name), 136))
    copy = checked.copied()
    checked.check()
    result = checked.heal(copy)
    assert (result.healed_packs, result.still_bad_packs) == (0, 1)
    assert [one.reason for one in result.findings] == [Reason.COPY_NOT_BETTER]
    assert len(checked.ledger.stored[pack.id].bad) == 1


def test_another_repository_is_no_copy(checked: CheckedWorld) -> None:
    pack = checked.data_pack()
    checked.store.delete(checked.name(pack))
    checked.check()
    other = RescueWorld(MemoryStore())
    with pytest.raises(ForeignRepository):
        checked.heal(other.store)


def test_a_sound_repository_has_no_findings_and_all_of_it_is_proven(checked: CheckedWorld) -> None:
    result = checked.check(FULL)
    assert (result.findings, result.bad_slots, result.damaged_points) == ((), 0, 0)
    assert result.packs == len(checked.ledger.stored)
    assert all(pack.whole for pack in checked.ledger.stored.values())
    assert checked.ledger.told[-1].phase == "packs"
