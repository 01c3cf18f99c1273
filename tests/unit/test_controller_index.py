"""The chunk index against a plain dict: what each host may be told, through merges, marks, crashes and damage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from seawall.controller.errors import AlreadyExists, DataLoss
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.index.reconcile import PackFacts, reconcile
from seawall.repository.format.record import ChunkType, Codec, Locator
from support.pack_tables import random_ids, table_of

HOSTS = ("alpha", "beta", "gamma")

# Ids that share words, so that ties in either half are common.
WORDS = st.sampled_from([b"\x00" * 8, b"\x00" * 7 + b"\x01", b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 7, b"\xff" * 8])
IDS = st.builds(lambda high, low: high + low, WORDS, WORDS)


def pack(number: int) -> bytes:
    return number.to_bytes(16, "big")


@dataclass
class ModelPack:
    """A pack as the database knows it."""

    host: str
    generation: int
    table: NDArray[np.void]
    verified: bool
    withdrawn: set[int] = field(default_factory=set)

    def answers(self, host: str, chunk_id: bytes, pack_id: bytes) -> set[Locator]:
        if host != self.host and not self.verified:
            return set()
        return {
            Locator(
                pack_id,
                self.generation,
                int(row["slot"]),
                int(row["offset"]),
                int(row["stored_bytes"]),
                int(row["raw_bytes"]),
                Codec(int(row["codec"])),
            )
            for row in self.table
            if row["chunk_id"].tobytes() == chunk_id and int(row["slot"]) not in self.withdrawn
        }

    def lengths(self) -> list[int]:
        held = {int(row["slot"]): int(row["raw_bytes"]) for row in self.table}
        return [held.get(slot, 0) for slot in range(max(held, default=-1) + 1)]


def facts_of(packs: Mapping[bytes, ModelPack]) -> list[PackFacts]:
    return [
        PackFacts(pack_id, each.generation, each.verified, np.array(sorted(each.withdrawn), np.uint16))
        for pack_id, each in packs.items()
    ]


class IndexMachine(RuleBasedStateMachine):
    """The model is the database; what the index says must follow from it, and nothing that follows may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.packs: dict[bytes, ModelPack] = {}
        self.made = 0

    @initialize(merge_entries=st.sampled_from([4, 30, 100_000]))
    def open(self, merge_entries: int) -> None:
        self.merge_entries = merge_entries
        self.index = self.opened()

    def opened(self) -> ChunkIndex:
        return ChunkIndex.open(Path(self.directory.name), merge_entries=self.merge_entries)

    @rule(
        host=st.sampled_from(HOSTS),
        ids=st.lists(IDS, max_size=12),
        generation=st.integers(0, 3),
        verified=st.booleans(),
        gaps=st.sets(st.integers(0, 11)),
    )
    def insert(self, host: str, ids: list[bytes], generation: int, verified: bool, gaps: set[int]) -> None:
        self.made += 1
        table = table_of(ids, seed=self.made)
        table = table[[slot not in gaps for slot in range(len(ids))]]
        for _ in range(2):  # the second time changes nothing
            self.index.insert_pack(pack(self.made), generation, host, table, verified)
        self.packs[pack(self.made)] = ModelPack(host, generation, table, verified)

    @precondition(lambda self: self.packs)
    @rule(data=st.data(), slots=st.sets(st.integers(0, 13)))
    def withdraw(self, data: st.DataObject, slots: set[int]) -> None:
        pack_id = self.any_pack(data)
        self.index.withdraw(pack_id, sorted(slots))
        self.packs[pack_id].withdrawn |= slots

    @precondition(lambda self: self.packs)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        pack_id = self.any_pack(data)
        self.index.forget_pack(pack_id)
        del self.packs[pack_id]

    @precondition(lambda self: self.packs)
    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        pack_id = self.any_pack(data)
        self.index.mark_verified(pack_id)
        self.packs[pack_id].verified = True

    @precondition(lambda self: self.packs)
    @rule(data=st.data(), dropped=st.sets(st.integers(0, 13)))
    def compact(self, data: st.DataObject, dropped: set[int]) -> None:
        """The next generation lacks some withdrawn slots (bad ones stay), and the rest lies elsewhere."""
        pack_id = self.any_pack(data)
        known = self.packs[pack_id]
        left = [int(row["slot"]) not in known.withdrawn & dropped for row in known.table]
        known.table = known.table[left].copy()
        known.table["offset"] += 7
        known.generation += 1
        self.index.replace_generation(pack_id, known.generation, known.table)

    @precondition(lambda self: self.packs)
    @rule(data=st.data())
    def heal(self, data: st.DataObject) -> None:
        pack_id = self.any_pack(data)
        known = self.packs[pack_id]
        self.index.forget_pack(pack_id)
        self.index.insert_pack(pack_id, known.generation, known.host, known.table, known.verified)
        known.withdrawn.clear()

    @rule(host=st.sampled_from((*HOSTS, "stranger")), ids=st.lists(IDS, max_size=20))
    def lookup(self, host: str, ids: list[bytes]) -> None:
        self.check(host, ids)

    @rule()
    def flush(self) -> None:
        self.index.flush()

    @rule(everything=st.booleans())
    def merge(self, everything: bool) -> None:
        self.index.merge(everything=everything)

    @rule()
    def close_and_open(self) -> None:
        self.index.close()
        self.index = self.opened()
        assert self.index.rebuild_reason is None
        self.check_packs()  # nothing is to be mended

    @rule(
        damage=st.none()
        | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["flip", "cut", "gone"]))
    )
    def crash_and_open(self, damage: tuple[int, int, str] | None) -> None:
        """The process is gone, perhaps a file is damaged: the database says what is right."""
        self.index._closing.set()
        for thread in (self.index._flusher, self.index._merger):
            if thread is not None:
                thread.join()
        if damage is not None:
            spoil(Path(self.directory.name), *damage)
        self.index = self.opened()
        for pack_id in reconcile(self.index, facts_of(self.packs)):
            known = self.packs[pack_id]
            self.index.insert_pack(pack_id, known.generation, known.host, known.table, known.verified)
            self.index.withdraw(pack_id, sorted(known.withdrawn))

    @invariant()
    def knows_its_packs(self) -> None:
        if hasattr(self, "index"):
            self.check_packs()

    def any_pack(self, data: st.DataObject) -> bytes:
        return data.draw(st.sampled_from(sorted(self.packs)))

    def check(self, host: str, ids: Sequence[bytes]) -> None:
        found = self.index.lookup(host, ids)
        for n, chunk_id in enumerate(ids):
            allowed = set[Locator]().union(
                *(each.answers(host, chunk_id, pack_id) for pack_id, each in self.packs.items())
            )
            assert (found[n] in allowed) if n in found else not allowed

    def check_packs(self) -> None:
        assert self.index.known_packs() == self.packs.keys()
        for pack_id, model in self.packs.items():
            known, lengths = self.index.pack(pack_id), self.index.raw_lengths(pack_id)
            assert known is not None
            assert lengths is not None
            assert (known.host_id, known.generation, known.verified) == (model.host, model.generation, model.verified)
            assert set(known.withdrawn.tolist()) == model.withdrawn & set(model.table["slot"].tolist())
            assert lengths.tolist() == model.lengths()
        assert self.index.raw_lengths(b"?" * 16) is None

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.index.close()
        self.directory.cleanup()


def spoil(directory: Path, which: int, where: int, how: str) -> None:
    """One file of an index, if there is any."""
    files = [path for path in directory.iterdir() if path.stat().st_size]
    files.sort(key=lambda path: (path.suffix, path.stat().st_size, path.name))  # names are chance
    if not files:
        return
    path = files[which % len(files)]
    body = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(body[: where % len(body)])
    else:
        body[where % len(body)] ^= 0x10
        path.write_bytes(body)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


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


@pytest.mark.parametrize(("field", "value"), [("slot", 0), ("codec", 9), ("type", 2)])
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, field: str, value: int) -> None:
    index = ChunkIndex.open(tmp_path)
    table = table_of(random_ids(3, seed=1))
    table[field][1:] = value
    with pytest.raises(DataLoss) as caught:
        index.insert_pack(pack(1), 0, "alpha", table)
    assert caught.value.reason == "BAD_TABLE"
    assert index.known_packs() == frozenset()


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
    index.withdraw(pack(1), [1, 3])
    index.merge(everything=True)
    index.close()
    known = ChunkIndex.open(tmp_path).pack(pack(1))
    assert known is not None
    assert known.withdrawn.tolist() == [1, 3]


def test_a_verified_pack_answers_every_host(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(6, 5)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids[:3]))
    index.insert_pack(pack(2), 0, "alpha", table_of(ids[3:]), verified=True)
    assert sorted(index.lookup("beta", ids)) == [3, 4, 5]
    index.mark_verified(pack(1))
    index.mark_verified(pack(9))  # unknown: nothing
    assert sorted(index.lookup("beta", ids)) == [0, 1, 2, 3, 4, 5]
    assert index.known_packs() == {pack(1), pack(2)}


@pytest.mark.parametrize("merged", [False, True])
def test_a_host_finds_its_own_copy_among_a_thousand(tmp_path: Path, merged: bool) -> None:
    """Nobody is told of others' copies; of verified ones everybody is; and what one host forges is not looked through for others."""
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(3, 5)
    hosts = [f"host{number:04}" for number in range(1000)]
    for number in np.random.default_rng(1).permutation(1000).tolist():
        index.insert_pack(pack(number), 0, hosts[number], table_of(ids))
    if merged:
        index.flush()
        index.merge(everything=True)
    for number in (0, 63, 64, 500, 999):
        found = index.lookup(hosts[number], ids)
        assert {place.pack_id for place in found.values()} == {pack(number)}
        assert len(found) == 3
    assert index.lookup("stranger", ids) == {}
    index.mark_verified(pack(3))
    assert {place.pack_id for place in index.lookup("stranger", ids).values()} == {pack(3)}


def test_a_host_that_repeats_an_id_finds_the_copy_that_is_left(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    one = random_ids(1, 5)
    index.insert_pack(pack(1), 0, "alpha", table_of(one * 1000))
    index.insert_pack(pack(2), 0, "beta", table_of(one * 1000))
    index.merge(everything=True)
    index.withdraw(pack(1), [slot for slot in range(1000) if slot != 777])
    assert index.lookup("alpha", one)[0].slot == 777
    assert index.lookup("beta", one)[0].pack_id == pack(2)
    index.withdraw(pack(1), [777])
    assert index.lookup("alpha", one) == {}


def test_withdrawn_slots_answer_nobody(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(4, 5)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))
    index.withdraw(pack(1), np.array([0, 2], np.uint16))
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))
    assert sorted(index.lookup("alpha", ids)) == [1, 3]
    assert index.raw_lengths(pack(1)).tolist() == table_of(ids)["raw_bytes"].tolist()  # type: ignore[union-attr]
    index.insert_pack(pack(2), 0, "alpha", table_of(ids[:1]))
    assert sorted(index.lookup("alpha", ids)) == [0, 1, 3]


def test_a_forgotten_pack_may_come_again(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(4, 5)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids), verified=True)
    index.withdraw(pack(1), [1])
    index.forget_pack(pack(1))
    assert index.lookup("alpha", ids) == {}
    assert index.raw_lengths(pack(1)) is None
    assert index.known_packs() == frozenset()
    index.insert_pack(pack(1), 0, "beta", table_of(ids))
    assert sorted(index.lookup("beta", ids)) == [0, 1, 2, 3]
    assert index.lookup("gamma", ids) == {}


def test_a_bad_slot_stays_withdrawn_in_the_next_generation(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(4, 5)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))
    index.withdraw(pack(1), [0, 2])
    index.replace_generation(pack(1), 1, table_of(ids)[1:])
    assert {n: place.generation for n, place in index.lookup("alpha", ids).items()} == {1: 1, 3: 1}
    assert index.pack(pack(1)).withdrawn.tolist() == [2]  # type: ignore[union-attr]


def test_a_new_generation_replaces_the_old_one(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(4, 5)
    table = table_of(ids)
    index.insert_pack(pack(1), 0, "alpha", table, verified=True)
    index.flush()
    kept = table[[1, 3]].copy()
    kept["offset"] = [64, 900]
    index.replace_generation(pack(1), 3, kept)
    found = index.lookup("gamma", ids)
    assert {n: (at.generation, at.slot, at.offset) for n, at in found.items()} == {1: (3, 1, 64), 3: (3, 3, 900)}
    assert index.raw_lengths(pack(1)).tolist() == [0, table["raw_bytes"][1], 0, table["raw_bytes"][3]]  # type: ignore[union-attr]
