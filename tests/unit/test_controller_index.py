"""The chunk index against a plain dict; damage; many threads; scale."""

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seawall.controller.errors import AlreadyExists, DataLoss, Unavailable
from seawall.controller.index import chunks
from seawall.controller.index.chunks import FILE_NAME, ChunkIndex
from seawall.controller.index.segment import is_sorted
from seawall.repository.format.record import ChunkType, Codec, Locator
from support.pack_tables import random_ids, table_of

HOSTS = ("alpha", "beta", "gamma")

# Ids that share words, so that ties in either half are common.
WORDS = st.sampled_from([b"\x00" * 8, b"\x00" * 7 + b"\x01", b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 7, b"\xff" * 8])
IDS = st.builds(lambda high, low: high + low, WORDS, WORDS)


def pack(number: int) -> bytes:
    return number.to_bytes(16, "big")


class IndexMachine(RuleBasedStateMachine):
    """What a host may be told of a chunk: any of the places where its own packs hold it, and nothing if none does."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.model: dict[tuple[str, bytes], set[Locator]] = {}
        self.packs: dict[bytes, list[int]] = {}

    @initialize(merge_entries=st.sampled_from([4, 100_000]))
    def open(self, merge_entries: int) -> None:
        self.merge_entries = merge_entries
        self.index = ChunkIndex.open(Path(self.directory.name), merge_entries=merge_entries)

    @rule(host=st.sampled_from(HOSTS), ids=st.lists(IDS, max_size=12), generation=st.integers(0, 3))
    def insert(self, host: str, ids: list[bytes], generation: int) -> None:
        pack_id = pack(len(self.packs))
        table = table_of(ids, seed=len(self.packs))
        for _ in range(2):  # the second time changes nothing
            self.index.insert_pack(pack_id, generation, host, table)
        self.packs[pack_id] = table["raw_bytes"].tolist()
        for row in table:
            place = Locator(
                pack_id,
                generation,
                int(row["slot"]),
                int(row["offset"]),
                int(row["stored_bytes"]),
                int(row["raw_bytes"]),
                Codec(int(row["codec"])),
            )
            self.model.setdefault((host, bytes(row["chunk_id"].tobytes())), set()).add(place)

    @rule(host=st.sampled_from((*HOSTS, "stranger")), ids=st.lists(IDS, max_size=20))
    def lookup(self, host: str, ids: list[bytes]) -> None:
        found = self.index.lookup(host, ids)
        assert set(found) == {n for n, chunk_id in enumerate(ids) if (host, chunk_id) in self.model}
        assert all(place in self.model[host, ids[n]] for n, place in found.items())

    @rule()
    def flush(self) -> None:
        self.index.flush()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = ChunkIndex.open(Path(self.directory.name), merge_entries=self.merge_entries)
        assert self.index.rebuild_reason is None or not self.packs

    @invariant()
    def knows_its_packs(self) -> None:
        if not hasattr(self, "index"):
            return
        assert self.index.known_packs() == self.packs.keys()
        for pack_id, lengths in self.packs.items():
            known = self.index.raw_lengths(pack_id)
            assert known is not None
            assert known.tolist() == lengths
        assert self.index.raw_lengths(b"?" * 16) is None

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.index.close()
        self.directory.cleanup()


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_slot_that_a_pack_lacks_has_no_length(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    table = table_of(random_ids(3, seed=1))
    index.insert_pack(pack(1), 2, "alpha", table[[0, 2]])
    assert index.raw_lengths(pack(1)).tolist() == [table["raw_bytes"][0], 0, table["raw_bytes"][2]]  # type: ignore[union-attr]


def test_a_pack_belongs_to_one_host(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    table = table_of(random_ids(3, seed=1))
    index.insert_pack(pack(1), 0, "alpha", table)
    with pytest.raises(AlreadyExists) as caught:
        index.insert_pack(pack(1), 0, "beta", table)
    assert caught.value.reason == "PACK_FOREIGN"
    index.flush()
    with pytest.raises(AlreadyExists):
        index.insert_pack(pack(1), 0, "beta", table)


@pytest.mark.parametrize(("field", "value"), [("slot", 0), ("codec", 9)])
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, field: str, value: int) -> None:
    index = ChunkIndex.open(tmp_path)
    table = table_of(random_ids(3, seed=1))
    table[field][1:] = value
    with pytest.raises(DataLoss) as caught:
        index.insert_pack(pack(1), 0, "alpha", table)
    assert caught.value.reason == "BAD_TABLE"
    assert index.known_packs() == frozenset()


def test_any_damage_gives_an_empty_index_and_says_so(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    assert index.rebuild_reason is not None
    index.insert_pack(pack(1), 0, "alpha", table_of(random_ids(20, seed=1)))
    index.close()
    path = tmp_path / FILE_NAME
    good = path.read_bytes()
    assert ChunkIndex.open(tmp_path).rebuild_reason is None
    for position in range(0, len(good), 5):
        flipped = bytearray(good)
        flipped[position] ^= 0x10
        for bad in (bytes(flipped), good[:position]):
            path.write_bytes(bad)
            damaged = ChunkIndex.open(tmp_path)
            assert damaged.rebuild_reason is not None
            assert damaged.known_packs() == frozenset()
    # Rebuilding is inserting again; the damaged file is replaced.
    damaged.insert_pack(pack(1), 0, "alpha", table_of(random_ids(20, seed=1)))
    damaged.close()
    assert path.read_bytes() == good


def test_what_a_killed_merge_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    index.insert_pack(pack(1), 0, "alpha", table_of(random_ids(20, seed=1)))
    index.close()
    good = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / f"{FILE_NAME}.new").write_bytes(good + good)
    index = ChunkIndex.open(tmp_path)
    assert index.rebuild_reason is None
    assert index.known_packs() == {pack(1)}
    index.insert_pack(pack(2), 0, "beta", table_of(random_ids(20, seed=2)))
    index.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert ChunkIndex.open(tmp_path).known_packs() == {pack(1), pack(2)}


def test_a_disk_that_takes_no_merge_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(10, seed=1)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write_merged", full)
        with pytest.raises(Unavailable) as caught:
            index.flush()
        assert caught.value.reason == "INDEX_NOT_WRITTEN"
        assert len(index.lookup("alpha", ids)) == 10
    index.insert_pack(pack(2), 0, "alpha", table_of(random_ids(5, seed=2)))
    index.close()
    assert ChunkIndex.open(tmp_path).known_packs() == {pack(1), pack(2)}


def test_lookups_go_on_while_others_insert_and_merge(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path, merge_entries=500)
    stored: list[tuple[str, list[bytes]]] = []
    wrong: list[object] = []
    over = threading.Event()

    def insert(host: str, offset: int) -> None:
        for number in range(60):
            ids = random_ids(50, seed=offset + number)
            index.insert_pack(pack(offset + number), 0, host, table_of(ids))
            stored.append((host, ids))

    def ask() -> None:
        while not over.is_set():
            for host, ids in stored[-5:]:
                if set(index.lookup(host, ids)) != set(range(50)) or index.lookup("gamma", ids):
                    wrong.append((host, ids))

    def merge() -> None:
        while not over.is_set():
            index.flush()

    writers = [threading.Thread(target=insert, args=(host, 1000 * n)) for n, host in enumerate(("alpha", "beta"), 1)]
    others = [threading.Thread(target=target) for target in (ask, ask, merge)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in others:
        thread.join()
    index.close()
    assert not wrong
    again = ChunkIndex.open(tmp_path)
    assert len(again.known_packs()) == 120
    assert all(set(again.lookup(host, ids)) == set(range(50)) for host, ids in stored)


def test_a_million_chunks(tmp_path: Path) -> None:
    """Size per entry, order after merges, and answers; the time of a lookup is printed, not asserted."""
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(1_000_000, seed=1)
    for start in range(0, len(ids), 10_000):
        index.insert_pack(pack(start), 0, HOSTS[start // 10_000 % 2], table_of(ids[start : start + 10_000]))
    index.close()
    assert (tmp_path / FILE_NAME).stat().st_size <= 40 * len(ids)
    index = ChunkIndex.open(tmp_path)
    assert is_sorted(index._state.base)
    wanted = ids[:2048] + random_ids(2048, seed=2)
    mine, theirs = index.lookup(HOSTS[0], wanted), index.lookup(HOSTS[1], wanted)
    began = time.perf_counter()
    index.lookup(HOSTS[0], wanted)
    print(f"lookup of 4,096 ids among 1,000,000: {1000 * (time.perf_counter() - began):.1f} ms")
    assert set(mine) == set(range(2048))
    assert theirs == {}
    assert all(np.array_equal((mine[n].pack_id, mine[n].slot), (pack(0), n)) for n in range(2048))


def test_only_data_is_found(tmp_path: Path) -> None:
    """A page or a domain XML may equal a chunk of some disk: same id, but its record never opens as data."""
    ids = random_ids(4, 5)
    table = table_of(ids)
    table["type"][1:3] = ChunkType.META
    index = ChunkIndex.open(tmp_path)
    index.insert_pack(pack(1), 0, "alpha", table)
    assert sorted(index.lookup("alpha", ids)) == [0, 3]
    lengths = index.raw_lengths(pack(1))
    assert lengths is not None
    assert all(lengths), "commits count META slots too"
    index.close()
