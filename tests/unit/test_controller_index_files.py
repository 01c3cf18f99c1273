"""The files of the chunk index: damage, leftovers, full disks; what merges leave out; many threads; size."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from seawall.controller.errors import Unavailable
from seawall.controller.index import files
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.index.listing import LISTING_NAME
from seawall.controller.index.merge import in_order, merged, plan_merge
from seawall.controller.index.part import Part
from seawall.controller.index.question import question_of
from seawall.controller.index.shard import write_shard
from seawall.controller.index.table import segment_of_pack
from support.pack_tables import random_ids, table_of


def pack(number: int) -> bytes:
    return number.to_bytes(16, "big")


def two_shards(directory: Path) -> None:
    """One of pack 1, one of pack 2 with marks; in this order."""
    index = ChunkIndex.open(directory)
    for number, chunks in ((1, 30), (2, 10)):
        index.insert_pack(pack(number), 0, "alpha", table_of(random_ids(chunks, seed=number)))
        index.flush()
    index.withdraw(pack(2), [3])
    index.close()


def stop(index: ChunkIndex) -> None:
    """As if its process were killed: nothing is written any more."""
    index._closing.set()
    for thread in (index._flusher, index._merger):
        if thread is not None:
            thread.join()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def restore(directory: Path, good: dict[str, bytes]) -> None:
    for path in directory.iterdir():
        path.unlink()
    for name, body in good.items():
        (directory / name).write_bytes(body)


def test_a_damaged_file_loses_only_its_own_packs_and_says_so(tmp_path: Path) -> None:
    two_shards(tmp_path)
    good = contents(tmp_path)
    assert len(good) == 4
    index = ChunkIndex.open(tmp_path)
    assert index.rebuild_reason is None
    assert index.known_packs() == {pack(1), pack(2)}
    kept: set[frozenset[bytes]] = set()
    for name, body in good.items():
        for position in range(0, len(body), 41):
            flipped = bytearray(body)
            flipped[position] ^= 0x10
            for bad in (bytes(flipped), body[:position]):
                restore(tmp_path, good | {name: bad})
                index = ChunkIndex.open(tmp_path)
                assert index.rebuild_reason is not None
                known = index.known_packs()
                kept.add(known)
                assert known == frozenset() if name == LISTING_NAME else len(known) == 1
                if name != LISTING_NAME:
                    assert ChunkIndex.open(tmp_path).rebuild_reason is None, "it is left out for good"
                # Rebuilding is inserting again; the next start finds all well.
                if position == 0:
                    for number, chunks in ((1, 30), (2, 10)):
                        index.insert_pack(pack(number), 0, "alpha", table_of(random_ids(chunks, seed=number)))
                    index.close()
                    again = ChunkIndex.open(tmp_path)
                    assert again.rebuild_reason is None
                    assert again.known_packs() == {pack(1), pack(2)}
    assert kept == {frozenset(), frozenset({pack(1)}), frozenset({pack(2)})}


def test_a_shard_that_is_whole_but_another_is_noticed(tmp_path: Path) -> None:
    two_shards(tmp_path)
    good = contents(tmp_path)
    one, other = sorted(name for name in good if name.endswith(".shard"))
    (tmp_path / one).write_bytes(good[other])
    assert ChunkIndex.open(tmp_path).rebuild_reason is not None


def test_what_a_killed_merge_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    two_shards(tmp_path)
    good = contents(tmp_path)
    for name in ("ff.shard", "ff.marks", "shards.list.new", "chunks.index"):
        (tmp_path / name).write_bytes(b"left behind")
    index = ChunkIndex.open(tmp_path)
    assert index.rebuild_reason is None
    assert index.known_packs() == {pack(1), pack(2)}
    assert contents(tmp_path) == good


def test_marks_survive_what_was_flushed(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(10, seed=1)
    for number in (1, 2, 3):
        index.insert_pack(pack(number), 0, "alpha", table_of(ids))
    index.flush()
    index.mark_verified(pack(1))
    index.withdraw(pack(1), range(1, 10))
    index.forget_pack(pack(2))
    index.flush()
    stop(index)
    index = ChunkIndex.open(tmp_path)
    assert index.known_packs() == {pack(1), pack(3)}
    assert {n: place.pack_id for n, place in index.lookup("beta", ids).items()} == {0: pack(1)}
    index.merge(everything=True)
    assert index.entries == 11
    assert {n: place.pack_id for n, place in index.lookup("beta", ids).items()} == {0: pack(1)}
    assert len(index.lookup("alpha", ids)) == 10


def test_an_index_of_which_all_is_forgotten_is_empty(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path)
    index.insert_pack(pack(1), 0, "alpha", table_of(random_ids(10, seed=1)))
    index.flush()
    index.forget_pack(pack(1))
    index.merge()
    assert index.entries == 0
    index.close()
    assert [path.name for path in tmp_path.iterdir()] == [LISTING_NAME]
    assert ChunkIndex.open(tmp_path).rebuild_reason is None


@pytest.mark.parametrize("step", ["write_shard", "write_listing"])
def test_a_disk_that_takes_nothing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(10, seed=1)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))

    def full(*_: object) -> None:
        index.replace_generation(pack(1), 1, table_of(ids))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, step, full)
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                index.flush()
            assert caught.value.reason == "INDEX_NOT_WRITTEN"
            assert {place.generation for place in index.lookup("alpha", ids).values()} == {1}
            index.forget_pack(pack(1))
            assert index.lookup("alpha", ids) == {}
            index.insert_pack(pack(1), 0, "alpha", table_of(ids))
        index.forget_pack(pack(1))
        index.insert_pack(pack(1), 0, "beta", table_of(ids))
    index.insert_pack(pack(2), 0, "alpha", table_of(random_ids(5, seed=2)))
    index.close()
    index = ChunkIndex.open(tmp_path)
    assert index.known_packs() == {pack(1), pack(2)}
    assert len(index.lookup("beta", ids)) == 10


def test_marks_that_could_not_be_saved_are_saved_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_shards(tmp_path)
    index = ChunkIndex.open(tmp_path)
    index.withdraw(pack(1), [7])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_listing", full)
        with pytest.raises(Unavailable):
            index.flush()
    index.flush()
    stop(index)
    known = ChunkIndex.open(tmp_path).pack(pack(1))
    assert known is not None
    assert known.withdrawn.tolist() == [7]


def test_what_happens_to_packs_while_they_are_merged_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge is held between its plan and its end; the same for the flush."""
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(10, seed=1)
    for number in range(6):
        index.insert_pack(pack(number), 0, "alpha", table_of(ids))
        if number == 2:
            index.flush()

    def meanwhile(path: Path, *rest: object) -> str:
        digest = write_shard(path, *rest)  # type: ignore[arg-type]
        for number in (0, 3):
            index.withdraw(pack(number), [number])
            index.forget_pack(pack(number + 1))
            index.replace_generation(pack(number + 2), 1, table_of(ids[:4]))
            index.mark_verified(pack(number + 2))
            index.withdraw(pack(number + 2), [2])
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_shard", meanwhile)
        index.flush()
        index.merge(everything=True)
    index.close()
    for _ in range(2):
        index = ChunkIndex.open(tmp_path)
        assert index.known_packs() == {pack(0), pack(2), pack(3), pack(5)}
        assert sorted(index.lookup("beta", ids)) == [0, 1, 3]
        for number in (0, 3):
            assert index.pack(pack(number)).withdrawn.tolist() == [number]  # type: ignore[union-attr]
            replaced = index.pack(pack(number + 2))
            assert replaced is not None
            assert (replaced.generation, replaced.verified, replaced.withdrawn.tolist()) == (1, True, [2])
        index.merge(everything=True)
        index.close()


def test_a_flush_that_fails_takes_nothing_from_a_merge_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(55, seed=1)
    for number, some in enumerate((ids[:50], ids[50:])):  # sizes that no merge begins with by itself
        index.insert_pack(pack(number), 0, "alpha", table_of(some))
        index.flush()
    index.insert_pack(pack(2), 0, "alpha", table_of(random_ids(5, seed=2)))
    paths: list[Path] = []

    def write(path: Path, *rest: object) -> str:
        paths.append(path)
        if len(paths) > 1:
            raise OSError(28, "No space left on device")
        with pytest.raises(Unavailable):
            index.flush()
        index.withdraw(pack(0), [0])
        return write_shard(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_shard", write)
        index.merge(everything=True)
    assert sorted(index.lookup("alpha", ids)) == list(range(1, 55))
    index.close()
    assert sorted(ChunkIndex.open(tmp_path).lookup("alpha", ids)) == list(range(1, 55))


def test_lookups_go_on_while_others_insert_mark_and_merge(tmp_path: Path) -> None:
    index = ChunkIndex.open(tmp_path, merge_entries=500)
    stored: list[tuple[str, int, list[bytes]]] = []
    wrong: list[object] = []
    over = threading.Event()

    def insert(host: str, offset: int) -> None:
        for number in range(offset, offset + 60):
            ids = random_ids(50, seed=number)
            index.insert_pack(pack(number), 0, host, table_of(ids))
            index.withdraw(pack(number), [49])
            if number % 3 == 0:
                index.replace_generation(pack(number), 1, table_of(ids[:49]))
            if number % 4 == 0:
                index.mark_verified(pack(number))
            stored.append((host, number, ids))

    def expected(number: int, own: bool) -> set[int]:
        return set(range(49)) if own or number % 4 == 0 else set()

    def ask() -> None:
        while not over.is_set():
            for host, number, ids in stored[-5:]:
                for asking in (host, "gamma"):
                    if set(index.lookup(asking, ids)) != expected(number, asking == host):
                        wrong.append((asking, number))

    def merge() -> None:
        while not over.is_set():
            index.flush()
            index.merge()

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
    for host, number, ids in stored:
        assert set(again.lookup(host, ids)) == expected(number, own=True)
        assert set(again.lookup("gamma", ids)) == expected(number, own=False)


def test_slices_are_bounded_and_in_order_whatever_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of very different sizes, ids that share words, one id more often than a slice holds."""
    monkeypatch.setattr("seawall.controller.index.merge.SLICE", 16)
    same = random_ids(1, seed=1)[0]
    groups = [
        random_ids(300, seed=2),
        [same] * 100,
        [same[:8] + each[:8] for each in random_ids(60, seed=3)],
        random_ids(3, 4),
    ]
    parts = [
        Part(segment_of_pack(pack(n), 0, f"host{n % 2}", table_of(ids), verified=False)) for n, ids in enumerate(groups)
    ]
    parts[0].withdraw(0, table_of(groups[0])["slot"][:150].astype("i8"))
    segment = merged(parts)
    assert in_order(segment)
    assert segment.entries == 313
    assert sorted(segment.high.tolist()) == sorted(
        int.from_bytes(each[:8], "big") for each in (*groups[0][150:], *groups[1], *groups[2], *groups[3])
    )


def test_a_merge_is_of_the_moment_it_was_planned_at() -> None:
    """Marks that come while it is counted and written must not tear it: they are made again on the merged segment."""
    part = Part(segment_of_pack(pack(1), 0, "alpha", table_of(random_ids(20, seed=1)), verified=False))
    part.withdraw(0, np.arange(5))
    plan = plan_merge([part])
    part.withdraw(0, np.arange(10))
    part.forget(0)
    assert plan.entries() == 15
    assert len(plan.packs) == 1


def test_a_lookup_under_way_sees_the_old_generation_or_the_new_never_none(tmp_path: Path) -> None:
    """It holds the state that it began with: nothing may vanish from it."""
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(10, seed=1)
    index.insert_pack(pack(1), 0, "alpha", table_of(ids))
    for _ in range(2):
        before = index._state
        index.replace_generation(pack(1), 1, table_of(ids))
        found = [part.find("alpha", question_of(b"".join(ids))) for part in before.parts()]
        assert max(int(rows.min()) for rows in found) >= 0
        assert {place.generation for place in index.lookup("alpha", ids).values()} == {1}
        index.flush()


def test_a_million_chunks(tmp_path: Path) -> None:
    """Size per entry, order after merges, and answers; the time of a lookup is printed, not asserted."""
    index = ChunkIndex.open(tmp_path)
    ids = random_ids(1_000_000, seed=1)
    for start in range(0, len(ids), 10_000):
        index.insert_pack(pack(start), 0, ("alpha", "beta")[start // 10_000 % 2], table_of(ids[start : start + 10_000]))
    index.flush()
    index.merge()
    index.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40 * len(ids)
    index = ChunkIndex.open(tmp_path)
    assert len(index._state.shards) <= 6
    assert all(in_order(shard.part.segment) for shard in index._state.shards)
    wanted = ids[:2048] + random_ids(2048, seed=2)
    mine, theirs = index.lookup("alpha", wanted), index.lookup("beta", wanted)
    began = time.perf_counter()
    index.lookup("alpha", wanted)
    print(f"lookup of 4,096 ids among 1,000,000: {1000 * (time.perf_counter() - began):.1f} ms")
    assert set(mine) == set(range(2048))
    assert theirs == {}
    assert all((mine[n].pack_id, mine[n].slot) == (pack(0), n) for n in range(2048))
