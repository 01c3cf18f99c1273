"""Packs as an agent reads them: signed by generation, the present one alone; what moved is found again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pytest

from seawall.agent.control.client import ControllerClient
from seawall.agent.control.coordinator import AgentPackReader
from seawall.agent.control.messages import ReadUrl
from seawall.repository.checking.port import PackFacts
from seawall.repository.clock import SystemClock
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.pack import parse_table
from seawall.repository.reading.point import PointReader
from seawall.repository.store.port import SignedTransfer
from support.checked_world import CheckedWorld, checked_world
from support.point_writing import restored
from support.rescue_world import LINEAGE, point_id


@dataclass
class Signer:
    """The controller: signs the generations that count, and for any other the first of them. A URL is the object's name."""

    checked: CheckedWorld
    asked: list[Sequence[tuple[bytes, int]]] = field(default_factory=list)

    def read_urls(self, packs: Sequence[tuple[bytes, int]]) -> list[ReadUrl]:
        self.asked.append(packs)
        return [self._signed(pack_id, generation) for pack_id, generation in packs]

    def _signed(self, pack_id: bytes, generation: int) -> ReadUrl:
        pack = self.checked.ledger.stored[pack_id]
        present = generation if generation in pack.generations else pack.generation
        return ReadUrl(pack_id, present, self.checked.name(pack, present), SystemClock().now_us() + 3_600_000_000)


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


@pytest.fixture
def signer(checked: CheckedWorld) -> Signer:
    return Signer(checked)


@pytest.fixture
def packs(checked: CheckedWorld, signer: Signer) -> AgentPackReader:
    return AgentPackReader(cast(ControllerClient, signer), cast(SignedTransfer, checked.store), SystemClock())


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
    assert packs.generations(pack.id) == (3,)
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
    """The controller names the first of the two, and signs the second where it is asked for."""
    meta = checked.meta_pack()
    moved_on(checked, meta, 2)
    name = checked.name(meta, 2)
    table = packs.table(meta.id, 2)
    body = bytearray(checked.store.get(name))
    for offset in table["offset"].tolist():
        body[offset + 30] ^= 1
    checked.replace(name, bytes(body))
    reader = restore(checked, packs, point_id(1))
    assert [one.split(":")[0] for one in reader.passed_over.sentences()] == [name]
