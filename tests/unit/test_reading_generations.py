"""Several generations of a pack, each altered or cut in another place: what one of them holds whole is read."""

import errno
from collections.abc import Iterator

import pytest

from seawall.repository.checking.port import PackFacts
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreUnavailable
from seawall.repository.format.layout import packs_prefix
from seawall.repository.format.pack import parse_table
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo
from support.checked_world import CheckedWorld, checked_world
from support.point_writing import restored
from support.rescue_world import LINEAGE, point_id


class Watched(MemoryStore):
    """Counts lists; what reaches over `torn`, a byte of an object, cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.torn: tuple[str, int] | None = None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.lists += prefix.startswith("v1/p/")
        return super().list(prefix)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if self.torn is not None and name == self.torn[0] and offset <= self.torn[1] < offset + length:
            raise StoreUnavailable(f"{name}: a bad sector") from OSError(errno.EIO, "a bad sector")
        return super().get_range(name, offset, length)


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world(Watched())


def a_pack(checked: CheckedWorld) -> PackFacts:
    """Of data; with slots enough, however the disk was cut this time."""
    pack = max((pack for pack in checked.ledger.stored.values() if not pack.meta), key=lambda pack: pack.slots)
    assert pack.slots > 6
    return pack


def body_of(checked: CheckedWorld, pack: PackFacts) -> bytes:
    return checked.store.get(checked.name(pack, 0))


def flipped(body: bytes, slot: int) -> bytes:
    """One byte of one record."""
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    at = int(table[slot]["offset"]) + 40
    return body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]


def cut(body: bytes, slot: int) -> bytes:
    """It ends within one record."""
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    return body[: int(table[slot]["offset"]) + 40]


def put(checked: CheckedWorld, pack: PackFacts, **generations: bytes) -> list[str]:
    """`g2=bytes`: what lies there of the pack, and nothing else. Their names, the oldest first."""
    for info in [info for info in checked.store.list(packs_prefix(pack.tenant)) if pack.id.hex() in info.name]:
        checked.store.delete(info.name)
    names = []
    for generation, body in generations.items():
        names.append(checked.name(pack, int(generation[1:])))
        checked.store.put(names[-1], body)
    return names


def altered(checked: CheckedWorld) -> list[str]:
    """All points come back, at once and by random reads; which objects were passed over."""
    return [one.split(":")[0] for one in checked.check_restores()]


def test_one_is_altered_and_the_other_ends_early(checked: CheckedWorld) -> None:
    """A joined range of the older one cannot be read; the newer one's lacks a chunk that the older has."""
    pack = a_pack(checked)
    body = body_of(checked, pack)
    older, newer = put(checked, pack, g0=cut(body, 5), g1=flipped(body, 3))
    assert altered(checked) == [older, newer]


def test_both_end_early_or_are_altered_and_nothing_is_made_up(checked: CheckedWorld) -> None:
    pack = a_pack(checked)
    body = body_of(checked, pack)
    put(checked, pack, g0=cut(body, 5), g1=flipped(body, pack.slots - 1))
    with pytest.raises(IntegrityError, match=pack.id.hex()):
        checked.check_restores()


def test_all_that_lie_there_are_asked(checked: CheckedWorld) -> None:
    pack = a_pack(checked)
    body = body_of(checked, pack)
    put(checked, pack, g0=flipped(flipped(body, 3), 5), g1=flipped(body, 5), g4=flipped(body, 3))
    names = [checked.name(pack, generation) for generation in (0, 4)]
    assert altered(checked) == names


def test_where_the_named_one_is_gone_and_the_newest_is_altered(checked: CheckedWorld) -> None:
    """Object Lock lets the first go before the second."""
    pack = a_pack(checked)
    body = body_of(checked, pack)
    _, newest = put(checked, pack, g1=body, g2=flipped(body, 3))
    assert altered(checked) == [newest]
    put(checked, pack, g1=flipped(body, 5), g2=body[:-1] + b"?")
    with pytest.raises(ObjectMissing, match=checked.name(pack)):
        checked.check_restores()
    put(checked, pack, g1=body, g2=body[:-1] + b"?")
    assert altered(checked) == [], "of the newest one not even the table can be read: nothing of it was used"


def test_pages_too(checked: CheckedWorld) -> None:
    pack = checked.meta_pack()
    spoilt = body = body_of(checked, pack)
    for slot in range(pack.slots):
        spoilt = flipped(spoilt, slot)
    put(checked, pack, g2=body, g3=body, g4=spoilt, g5=spoilt)
    assert altered(checked) == [checked.name(pack, generation) for generation in (4, 5)]


def test_a_range_that_cannot_be_read_as_a_whole_is_read_by_chunk(checked: CheckedWorld) -> None:
    """The medium has a bad place between two chunks that are wanted."""
    pack, store = a_pack(checked), checked.store
    assert isinstance(store, Watched)
    table = parse_table(body := body_of(checked, pack), len(body))
    assert not isinstance(table, int)
    store.torn = (checked.name(pack), int(table[4]["offset"]) - 10)
    assert altered(checked) == []


def test_damage_in_numbers_lists_a_pack_once(checked: CheckedWorld) -> None:
    pack, store = a_pack(checked), checked.store
    assert isinstance(store, Watched)
    spoilt = body = body_of(checked, pack)
    for slot in range(0, pack.slots, 2):
        spoilt = flipped(spoilt, slot)
    put(checked, pack, g0=spoilt, g1=body)
    reader = PointReader(
        checked.world.readers[point_id(1)].root,
        LINEAGE,
        checked.world.settings.k_dedup,
        StorePackReader(store, pack.tenant),
    )
    before = store.lists
    assert restored(reader) == checked.world.truth[point_id(1)]["vda"].blocks
    assert store.lists == before + 1
