"""The chunk index at scale: `python tests/benchmarks/repository/index.py [--entries 50000000] [--folder F]`; prints JSON. Asserts nothing.

Entries come from the ends of packs as they lie in a store (1,000 chunks each, of 16 hosts), through the parser that the controller reads
them with. Making them up is not counted, nor is fetching them. Lookups are counted per second of one processor (on a quiet machine: per
second); what else takes long, in seconds of wall and of all processors. Takes about 75 bytes of disk per entry; leaves nothing.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from seawall.controller.index.chunks import ChunkIndex
from seawall.repository.format.pack_table import parse_tail
from support.pack_tables import pack_tail

CHUNKS_PER_PACK = 1000
HOSTS = 16
BATCH = 1000
BATCHES = 300


def figures(entries: int, folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Build, measure, merge, open. `folder` is empty, and holds the index afterwards."""
    before = memory_mib("RssAnon")
    with peak_memory() as peak:
        index = ChunkIndex.open(folder)
        rebuild = _rebuild(index, entries // CHUNKS_PER_PACK)
        say(f"rebuilt: {rebuild}")
        index.close()
    del index
    found: dict[str, Any] = {"entries": entries, **rebuild, "rebuild_peak_mib": round(peak[0] - before)}
    index, found["open_s"] = _opened(folder)
    found |= _lookups(index, entries) | _on_disk(folder, entries, index)
    found["ram_mib"] = round(memory_mib("RssAnon") - before + found["filter_mib"])
    say(f"as it is after a rebuild: {found}")
    with peak_memory() as peak:
        watch = Watch()
        index.merge(everything=True)
        found["merge_s"], found["merge_cpu_s"] = (round(seconds, 1) for seconds in watch.read())
    found["merge_peak_mib"] = round(peak[0] - before)
    found["merged"] = _lookups(index, entries)
    index.close()
    return found


def _rebuild(index: ChunkIndex, packs: int) -> dict[str, Any]:
    """Less the time of making up the packs; what runs in the background meanwhile is waited for at the end."""
    making, making_cpu, watch = 0.0, 0.0, Watch()
    for number in range(packs):
        start, start_cpu = time.perf_counter(), time.thread_time()
        pack_id, tail, pack_bytes = pack_tail(ids_of(number), number)
        making, making_cpu = making + time.perf_counter() - start, making_cpu + time.thread_time() - start_cpu
        parsed = parse_tail(tail, pack_bytes)
        if isinstance(parsed, int):
            raise AssertionError("the end of a pack was cut short")
        index.insert_pack(pack_id, 0, f"host-{number % HOSTS:02}", parsed.table, verified=number % 2 == 0)
    index.flush()
    index.merge()
    wall, cpu = watch.read()
    return {"rebuild_s": round(wall - making, 1), "rebuild_cpu_s": round(cpu - making_cpu, 1)}


def _lookups(index: ChunkIndex, entries: int) -> dict[str, Any]:
    """Per second of one processor: ids that are there in the order of the disk, scattered, not there, and half of them there."""
    chosen = np.random.default_rng(1).integers(0, entries // CHUNKS_PER_PACK // HOSTS, BATCHES) * HOSTS
    there = [ids_of(int(number)) for number in chosen]
    lines = np.random.default_rng(2).permutation(np.frombuffer(b"".join(there), "V16")).reshape(BATCHES, BATCH)
    scattered = [line.tobytes() for line in lines]
    absent = [np.random.default_rng(10**9 + number).bytes(16 * BATCH) for number in range(BATCHES)]
    half = [one[: 8 * BATCH] + other[: 8 * BATCH] for one, other in zip(scattered, absent, strict=True)]
    rates = {
        "in_order": _rate(index, there, BATCH),
        "scattered": _rate(index, scattered, BATCH),
        "miss": _rate(index, absent, 0),
        "half": _rate(index, half, BATCH // 2),
    }
    return {"lookups_per_s": rates["half"], "split": rates}


def _rate(index: ChunkIndex, batches: list[bytes], hits: int) -> int:
    """Of ids, on what stands in the page cache after one round."""
    for ids in batches[: BATCHES // 3]:
        index.lookup_joined("host-00", ids)
    began = time.thread_time()
    for ids in batches:
        if len(index.lookup_joined("host-00", ids)) != hits:
            raise AssertionError("a lookup is wrong")
    return round(len(batches) * BATCH / (time.thread_time() - began))


def _opened(folder: Path) -> tuple[ChunkIndex, float]:
    began = time.perf_counter()
    index = ChunkIndex.open(folder)
    if index.rebuild_reason is not None:
        raise AssertionError(index.rebuild_reason)
    return index, round(time.perf_counter() - began, 2)


def _on_disk(folder: Path, entries: int, index: ChunkIndex) -> dict[str, Any]:
    parts = [shard.part.segment for shard in index._state.shards]
    hot = sum(part.filter.nbytes + part.directory.nbytes for part in parts)
    return {
        "bytes_per_entry": round(sum(path.stat().st_size for path in folder.iterdir()) / entries, 2),
        "shards": len(parts),
        "filter_mib": round(hot / 2**20),
    }


def ids_of(pack: int) -> bytes:
    return np.random.default_rng(pack).bytes(16 * CHUNKS_PER_PACK)


class Watch:
    """Seconds since it was made: of wall, and of all processors that this process used."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def memory_mib(field: str) -> float:
    """Of this process, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The most private memory, looked at every 50 ms: [MiB]."""
    peak, over = [memory_mib("RssAnon")], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], memory_mib("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to make a temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="index-bench-") as folder:
        found = figures(asked.entries, Path(folder), lambda text: print(text, file=sys.stderr))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
