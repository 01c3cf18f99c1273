"""How fast the repository writes and reads on this machine: run by hand, `python tests/benchmarks/pipeline.py [MiB]`. Asserts nothing.

Data: half random, half text-like (compresses about 3 to 1); source and store are memory. CPU seconds are of the whole process.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from seawall.repository.chunking.grid import Grid, folds_of
from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.disks import Extent
from seawall.repository.reading.restore import restore_disk
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.point_writing import SETTINGS, disk, manifest_of, read_point, write_point

MIB = 1 << 20
BIG = replace(SETTINGS, pack_target_bytes=32 * MIB, compression_level=3)


class ArraySource:
    """A disk in one array. `dirty`: ranges that changed since the parent."""

    def __init__(self, data: np.ndarray[tuple[int], np.dtype[np.uint8]], dirty: list[int]) -> None:
        self._data = data
        self._dirty = dirty
        self.size_bytes = len(data)

    def extents(self, offset: int, length: int) -> list[Extent]:
        found, at, end = [], offset, offset + length
        for place in self._dirty:
            if at <= place < end:
                if place > at:
                    found.append(Extent(at, place - at, dirty=False, zero=False))
                found.append(Extent(place, min(65536, end - place), dirty=True, zero=False))
                at = found[-1].offset + found[-1].length
        if at < end:
            found.append(Extent(at, end - at, dirty=False, zero=False))
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        np.frombuffer(buffer, dtype=np.uint8)[:] = self._data[offset : offset + len(buffer)]


class NullSink:
    def write(self, offset: int, data: bytes | memoryview) -> None: ...

    def zero(self, offset: int, length: int) -> None: ...

    def flush(self) -> None: ...


def made_data(length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, length, dtype=np.uint8)
    words = rng.integers(32, 127, (512, 8), dtype=np.uint8)
    for start in range(0, length, 2 * MIB):
        part = data[start : start + MIB]
        part[:] = words[rng.integers(0, 512, len(part) // 8)].reshape(-1)[: len(part)]
    return data


@contextmanager
def timed(what: str, length: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:<44} {length / MIB / wall:8.0f} MiB/s   {length / MIB / cpu:8.0f} MiB per CPU second")


def repeat(times: int, call: Callable[[], object]) -> None:
    for _ in range(times):
        call()


def main(length: int) -> None:
    data = made_data(length)
    grid = Grid(SETTINGS.cut_key, 65536)
    segment = data[: 16 * MIB]
    with timed("fold and boundaries, 16 MiB segments", 320 * MIB):
        repeat(20, lambda: grid.boundaries(folds_of(segment)))
    chunks = [memoryview(data)[at : at + 65536] for at in range(0, 64 * MIB, 65536)]  # type: ignore[arg-type]
    with timed("keyed BLAKE3, 64 KiB chunks", 64 * MIB):
        repeat(1, lambda: [chunk_hash(SETTINGS.k_dedup, chunk) for chunk in chunks])
    coordinator = DirectCoordinator(MemoryStore())
    with timed("first full: all unique, zstd-3", length):
        point = write_point(coordinator, [disk(ArraySource(data, []), "full")], settings=BIG)
    parent = read_point(point, coordinator)
    with timed("compare: nothing changed", length):
        write_point(coordinator, [disk(ArraySource(data, []), "compare")], settings=BIG, number=2, parent=parent)
    with timed("full again: all known to Lookup", length):
        write_point(coordinator, [disk(ArraySource(data, []), "full")], settings=BIG, number=3)
    dirty = sorted(np.random.default_rng(5).choice(length // 65536, length // 65536 // 50, replace=False) * 65536)
    changed = data.copy()
    for place in dirty:
        changed[place : place + 4096] ^= 1
    source = ArraySource(changed, [int(place) for place in dirty])
    started = time.perf_counter()
    point = write_point(coordinator, [disk(source, "bitmap")], settings=BIG, number=4, parent=parent)
    stats = point.disks[0]
    print(
        f"bitmap: {len(dirty)} changed blocks of 64 KiB in {length // MIB} MiB: {time.perf_counter() - started:.2f} s, "
        f"read {stats.read_bytes / len(dirty) / 1024:.0f} KiB and stored {stats.stored_bytes / len(dirty) / 1024:.0f} KiB each"
    )
    with timed("restore", length):
        restore_disk(parent, manifest_of(parent), NullSink())


if __name__ == "__main__":
    main(int(sys.argv[1]) * MIB if len(sys.argv) > 1 else 1024 * MIB)
