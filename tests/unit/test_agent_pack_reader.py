"""Packs as an agent reads them: signed by generation, those that lie there and the present one; what moved or is altered is found again."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from seawall.agent.control.coordinator import NO_GENERATION, AgentPackReader
from seawall.repository.checking.port import PackFacts
from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError
from seawall.repository.format.pack import parse_table
from seawall.repository.reading.point import PointReader
from support.checked_world import CheckedWorld, checked_world
from support.pack_signer import Signer
from support.point_writing import restored
from support.rescue_world import LINEAGE, point_id


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


@pytest.fixture
def signer(checked: CheckedWorld) -> Signer:
    return Signer(checked)


@pytest.fixture
def packs(signer: Signer) -> AgentPackReader:
    return signer.reader()


def moved_on(checked: CheckedWorld, pack: PackFacts, to: int) -> None:
    """The same bytes in a later generation; the one before is gone."""
    now = checked.ledger.stored[pack.id]
    for place, generation in enumerate(now.generations):
        body = checked.store.get(checked.name(now, generation))
        checked.store.delete(checked.name(now, generation))
        checked.store.put(checked.name(now, to + place), body)
    checked.ledger.stored[pack.id] = replace(now, generation=to)


def restore(checked: CheckedWorld, packs: AgentPackReader, made: str) -> PointReader:
    """Byte for byte."""
    reader = PointReader(checked.world.readers[made].root, LINEAGE, checked.world.settings.k_dedup, packs)
    assert restored(reader, "vda") == checked.world.truth[made]["vda"].blocks
    return reader


def test_the_present_generation_and_its_table(checked: CheckedWorld, packs: AgentPackReader, signer: Signer) -> None:
    pack = checked.data_pack()
    body = checked.store.get(checked.name(pack))
    assert packs.read(pack.id, 0, 0, 48) == body[:48]
    moved_on(checked, pack, 3)
    assert packs.generations(pack.id) == [3]
    asked = len(signer.asked)
    assert np.array_equal(packs.table(pack.id, 3), parse_table(body, len(body)))
    assert len(signer.asked) == asked, "signed already"
    with pytest.raises(ObjectMissing, match="was replaced by generation 3"):
        packs.read(pack.id, 0, 0, 48)
    moved_on(checked, pack, 4)
    with pytest.raises(ObjectMissing, match="was replaced by generation 4"):
        packs.table(pack.id, 3)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_what_moved_is_found_again(
    checked: CheckedWorld, packs: AgentPackReader, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    """Also where it moves on between two calls of one reader: all that it knew of the pack is stale then."""
    data, meta = checked.data_pack(), checked.meta_pack()
    moved_on(checked, data, 1)
    moved_on(checked, meta, 2)
    if meanwhile:
        told = packs.generations

        def generations(pack_id: bytes) -> Sequence[int]:
            answer = told(pack_id)
            for pack in (data, meta):
                now = checked.ledger.stored[pack.id]
                if pack.id == pack_id and now.generation in answer and now.generation < 4:
                    moved_on(checked, pack, now.generation + 2)
            return answer

        monkeypatch.setattr(packs, "generations", generations)
    for made in checked.world.truth:
        restore(checked, packs, made)


def test_an_altered_copy_of_a_page_that_moved_has_its_pair(checked: CheckedWorld, packs: AgentPackReader) -> None:
    """The second of the two is the newest that lies there."""
    meta = checked.meta_pack()
    moved_on(checked, meta, 2)
    name = checked.name(meta, 3)
    table = packs.table(meta.id, 3)
    body = bytearray(checked.store.get(name))
    for offset in table["offset"].tolist():
        body[offset + 30] ^= 1
    checked.replace(name, bytes(body))
    reader = restore(checked, packs, point_id(1))
    assert [one.split(":")[0] for one in reader.passed_over.sentences()] == [name]


def beside(checked: CheckedWorld, pack: PackFacts, newer: bytes, older: bytes) -> tuple[str, str]:
    """Generation 2 counts, 0 is still there. Their names, the newer first."""
    moved_on(checked, pack, 2)
    checked.replace(checked.name(pack, 2), newer)
    checked.store.put(checked.name(pack, 0), older)
    return checked.name(pack, 2), checked.name(pack, 0)


def flipped(body: bytes, slot: int) -> bytes:
    """One byte of one record."""
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    at = int(table[slot]["offset"]) + 40
    return body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]


def of_data(checked: CheckedWorld) -> tuple[PackFacts, bytes]:
    pack = max((pack for pack in checked.ledger.stored.values() if not pack.meta), key=lambda pack: pack.slots)
    assert pack.slots > 6
    return pack, checked.store.get(checked.name(pack))


def test_each_is_altered_in_another_chunk(checked: CheckedWorld, packs: AgentPackReader, signer: Signer) -> None:
    pack, body = of_data(checked)
    newer, older = beside(checked, pack, flipped(body, 3), flipped(body, 5))
    reader = restore(checked, packs, point_id(1))
    assert [one.split(":")[0] for one in reader.passed_over.sentences()] == [older], "the newer one has that chunk"
    checked.replace(older, flipped(body, 3))
    with pytest.raises(IntegrityError, match=rf"point {point_id(1)}, disk vda, byte .*{pack.id.hex()}\.0"):
        restore(checked, signer.reader(), point_id(1))
    checked.replace(newer, body)
    restore(checked, signer.reader(), point_id(1))


@pytest.mark.parametrize("spoil", [lambda body: None, lambda body: body[:60], lambda body: bytes(len(body))])
def test_the_present_one_is_lost_or_spoilt(
    checked: CheckedWorld, packs: AgentPackReader, spoil: Callable[[bytes], bytes | None]
) -> None:
    """What counts is no copy any more; the one of before is whole."""
    pack, body = of_data(checked)
    newer, _ = beside(checked, pack, body, body)
    spoilt = spoil(body)
    if spoilt is None:
        checked.store.delete(newer)
    else:
        checked.replace(newer, spoilt)
    restore(checked, packs, point_id(1))


def test_one_between_the_named_and_the_present_one(checked: CheckedWorld, packs: AgentPackReader) -> None:
    """No page names it; only its number leads there."""
    pack, body = of_data(checked)
    moved_on(checked, pack, 300)
    checked.replace(checked.name(pack, 300), flipped(body, 3))
    checked.store.put(checked.name(pack, 299), body)
    restore(checked, packs, point_id(1))
    assert packs.generations(pack.id) == [300, 299]


def test_one_that_nobody_was_told_of_yet(checked: CheckedWorld, packs: AgentPackReader) -> None:
    """As rescue does: what was made of the present one holds the same chunks."""
    pack, body = of_data(checked)
    checked.replace(checked.name(pack, 0), flipped(body, 3))
    checked.store.put(checked.name(pack, 1), body)
    restore(checked, packs, point_id(1))
    meta = checked.meta_pack()
    for generation in (2, 3):
        checked.store.put(checked.name(meta, generation), checked.store.get(checked.name(meta, 0)))
    assert packs.generations(meta.id) == [3, 2, 1, 0]


def test_at_an_older_controller_the_present_one_alone(checked: CheckedWorld) -> None:
    """It signs no other, whatever is asked for: a restore does then as it did."""
    pack, body = of_data(checked)
    newer, _ = beside(checked, pack, body, body)
    older = Signer(checked, older=True)
    restore(checked, older.reader(), point_id(1))
    assert older.reader().generations(pack.id) == [2]
    checked.replace(newer, flipped(body, 3))
    with pytest.raises(RepositoryError, match=pack.id.hex()):
        restore(checked, older.reader(), point_id(1))


class OlderReader(AgentPackReader):
    """Of an agent that knows of the present generation alone, and asks for it by a number that no pack has."""

    def generations(self, pack_id: bytes) -> Sequence[int]:
        return (self._sign((pack_id, NO_GENERATION)).generation,)


def test_an_older_agent_is_given_the_older_one_and_goes_on_to_the_present_one(
    checked: CheckedWorld, signer: Signer
) -> None:
    pack, body = of_data(checked)
    _, older = beside(checked, pack, body, flipped(flipped(body, 3), 5))
    reader = restore(checked, signer.reader(OlderReader), point_id(1))
    assert [one.split(":")[0] for one in reader.passed_over.sentences()] == [older]


def test_what_was_replaced_is_asked_for_once(checked: CheckedWorld, packs: AgentPackReader, signer: Signer) -> None:
    """Each such question has the controller list the store."""
    pack, _ = of_data(checked)
    moved_on(checked, pack, 2)
    for _ in range(3):
        with pytest.raises(ObjectMissing, match="was replaced by generation 2"):
            packs.read(pack.id, 0, 0, 48)
    assert len(signer.asked) == 1
