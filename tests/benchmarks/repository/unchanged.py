"""A disk of which nothing changed, read again without a bitmap: read from the page cache, cut, hashed, compared with the parent point."""

from pathlib import Path
from statistics import median
from typing import Any

from seawall.repository.store.folder import FolderStore
from seawall.repository.writing.facts import HOW_COMPARE, HOW_FULL, WriteSettings
from support.direct_coordinator import DirectCoordinator
from support.point_writing import read_point

from .alternating import in_turn, plain, speedup, spent
from .image_data import MIB
from .pipeline_ends import FileSource, write

ROUNDS = 7
_PIECE_BYTES = 4 * MIB


def measure(dense: Path, settings: WriteSettings, store: FolderStore) -> tuple[float, dict[str, Any]]:
    """(MB of the disk per second of wall time, what was run). Beside it: reading the file and nothing else, as the floor."""
    coordinator = DirectCoordinator(store)
    with FileSource(dense) as source:
        first = write(source, HOW_FULL, settings, coordinator, 1)
        parent = read_point(first, coordinator, settings)
        known = len(coordinator.packs)
        pairs = in_turn(
            lambda: spent(lambda: write(source, HOW_COMPARE, settings, coordinator, 2, parent)),
            lambda: spent(lambda: _read(source)),
            ROUNDS,
        )
        if any(not pack.meta for pack in coordinator.packs[known:]):
            raise AssertionError("an unchanged disk stored data")
    megabytes = source.size_bytes / 1e6
    wall = median(pair.ours.wall_seconds for pair in pairs)
    return megabytes / wall, {
        "data_mib": source.size_bytes // MIB,
        "mb_per_s_best": round(megabytes / min(pair.ours.wall_seconds for pair in pairs)),
        "mb_per_cpu_second": round(megabytes / median(pair.ours.cpu_seconds for pair in pairs)),
        "share_of_reading_alone": round(speedup(pairs)[0], 3),
        "rounds_ours_reading": plain(pairs),
    }


def _read(source: FileSource) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    for offset in range(0, source.size_bytes, _PIECE_BYTES):
        source.read_into(offset, buffer[: min(_PIECE_BYTES, source.size_bytes - offset)])
