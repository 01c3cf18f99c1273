"""A repository is opened: the chunk index of last time, whatever it missed or lost, ends as the database says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.errors import Unavailable
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.reindexing import reindex
from seawall.repository.crypto.chunk import chunk_hash, chunk_id
from seawall.repository.format.layout import pack_name
from seawall.repository.format.pack import PackBuilder
from seawall.repository.format.record import ChunkType, seal_record
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.store.memory import MemoryStore
from support.controller_records import a_pack, a_repository
from support.rescue_world import LINEAGE, RescueWorld

CHUNKS = 5


class Opened:
    """A repository in a folder, with packs of `CHUNKS` chunks in its store; its index in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = RescueWorld(MemoryStore("file:///srv/backups"))
        self.reads = 0

    def store_pack(self, number: int, generation: int = 0) -> Pack:
        """STORED, of host alpha. The same number gives other bytes, of the same chunks."""
        builder = PackBuilder(LINEAGE, self.world.settings.repository_public_key, meta=False)
        for slot in range(CHUNKS):
            text = content(number, slot)
            builder.add(seal_record(LINEAGE, chunk_hash(self.world.settings.k_dedup, text), text, ChunkType.DATA, 1))
        pack = a_pack(number, state=PackState.STORED, generation=generation)
        self.world.store.put(pack_name(pack.tenant, pack.id, generation), bytes(builder.seal().body))
        return pack

    def open(self, packs: list[Pack]) -> ChunkIndex:
        """Reindexed, then flushed; `reads` says how many tables were read."""
        index = ChunkIndex.open(self.directory)
        opened = OpenedRepository(replace(a_repository(), url="file:///srv/backups"), self.world.repository, index)
        self.reads = reindex(opened, lambda: packs, lambda: None)
        index.close()
        return index

    def ids(self, number: int) -> list[bytes]:
        return [chunk_id(chunk_hash(self.world.settings.k_dedup, content(number, slot))) for slot in range(CHUNKS)]

    def answers(self, index: ChunkIndex, host: str, number: int) -> dict[int, int]:
        """Slot -> generation."""
        return {at.slot: at.generation for at in index.lookup(host, self.ids(number)).values()}


def content(number: int, slot: int) -> bytes:
    return bytes([number, slot]) * 4096


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    yield Opened(tmp_path / "index")


def test_what_the_index_missed_is_made_good_without_reading(opened: Opened) -> None:
    packs = [opened.store_pack(number) for number in range(1, 41)]
    opened.open(packs)
    assert opened.reads == 40
    packs[1] = replace(packs[1], condemned=SlotSet.of([0]), bad=SlotSet.of([3]))
    packs[2] = replace(packs[2], verified_us=5)
    index = opened.open(packs[1:])
    assert opened.reads == 0
    assert opened.answers(index, "alpha", 1) == {}
    assert opened.answers(index, "alpha", 2) == {1: 0, 2: 0, 4: 0}
    assert opened.answers(index, "beta", 2) == {}
    assert opened.answers(index, "beta", 3) == dict.fromkeys(range(CHUNKS), 0)


def test_what_cannot_be_mended_is_read_again(opened: Opened) -> None:
    """Healed, compacted, no longer proven."""
    packs = [opened.store_pack(number) for number in range(1, 5)]
    packs[0] = replace(packs[0], bad=SlotSet.of([1, 2]))
    packs[2] = replace(packs[2], verified_us=5)
    opened.open(packs)
    packs[0] = replace(packs[0], bad=SlotSet.of([2]))
    packs[1] = opened.store_pack(2, generation=3)
    packs[2] = replace(packs[2], verified_us=0)
    index = opened.open(packs)
    assert opened.reads == 3
    assert sorted(opened.answers(index, "alpha", 1)) == [0, 1, 3, 4]
    assert set(opened.answers(index, "alpha", 2).values()) == {3}
    assert opened.answers(index, "beta", 3) == {}
    assert len(opened.answers(index, "alpha", 3)) == CHUNKS
    opened.open(packs)
    assert opened.reads == 0


def test_a_damaged_shard_costs_its_own_packs_alone(opened: Opened) -> None:
    packs = [opened.store_pack(number) for number in range(1, 31)]
    opened.open(packs[:27])
    opened.open(packs)
    shards = sorted(opened.directory.glob("*.shard"), key=lambda path: path.stat().st_size)
    assert len(shards) == 2
    body = bytearray(shards[0].read_bytes())
    body[-1] ^= 1
    shards[0].write_bytes(body)
    index = opened.open(packs)
    assert opened.reads == 3
    assert all(len(opened.answers(index, "alpha", number)) == CHUNKS for number in range(1, 31))


def test_a_stop_in_the_middle_keeps_what_was_read(opened: Opened) -> None:
    packs = [opened.store_pack(number) for number in range(1, 4)]
    index = ChunkIndex.open(opened.directory)
    parts = OpenedRepository(a_repository(), opened.world.repository, index)

    def stop() -> None:
        raise Unavailable("DRAINING", "This controller is stopping.")

    reindex(parts, lambda: packs[:1], lambda: None)
    with pytest.raises(Unavailable):
        reindex(parts, lambda: packs, stop)
    index.close()
    opened.open(packs)
    assert opened.reads == 2
