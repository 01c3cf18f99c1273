"""Random reads of 4 KiB from a point in an S3 server (SeaweedFS on loopback), through DiskWindow.

Cold: nothing is in memory but the root: each read fetches inner node, page and chunk. Warm: the chunk is in the window's cache. Between
them, `scattered`: one window, all over the disk: the node is kept, pages and chunks mostly are not.
"""

import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from deploy.free_ports import free_ports
from deploy.s3.seaweedfs import PORTS, SeaweedFS

from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.reading.window import DiskWindow
from seawall.repository.store.locate import create_place, open_store
from seawall.repository.store.location import S3Credentials

from .image_data import MIB, read_spread
from .made_repository import TENANT, MadeRepository
from .pipeline_ends import ArraySource

_LENGTH = 768 * MIB
_PARTS = 12
_READ_BYTES = 4096
_COLD, _SCATTERED, _WARM = 300, 400, 2000
_WARM_CHUNKS_BYTES = 8 * MIB


def measure(dense: Path, work: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """(milliseconds, what was run). Every read is compared with the original."""
    data = read_spread(dense, _LENGTH, _PARTS)
    credentials = S3Credentials("bench", secrets.token_hex(16))
    server = SeaweedFS(
        work / "seaweedfs", "127.0.0.1", free_ports(PORTS), credentials.access_key, credentials.secret_key
    )
    server.start()
    try:
        url = f"s3://bench?endpoint={server.endpoint}"
        create_place(url, credentials)
        store = open_store(url, credentials)
        repository = MadeRepository(store)
        point = repository.back_up(ArraySource(data))
        packs = StorePackReader(store, TENANT)
        truth = memoryview(data)  # type: ignore[arg-type]

        def window() -> DiskWindow:
            reader = repository.reader(point, packs)
            return DiskWindow(reader, reader.root.disks[0])

        random = np.random.default_rng(7)

        def places(count: int, below: int) -> list[int]:
            return [int(block) * _READ_BYTES for block in random.integers(0, below // _READ_BYTES, count)]

        cold = [_read(window(), place, truth) for place in places(_COLD, len(data))]
        kept = window()
        scattered = [_read(kept, place, truth) for place in places(_SCATTERED, len(data))]
        kept.read(0, _WARM_CHUNKS_BYTES)
        warm = [_read(kept, place, truth) for place in places(_WARM, _WARM_CHUNKS_BYTES)]
    finally:
        server.stop()
    figures = {**_percentiles("cold", cold), **_percentiles("scattered", scattered), **_percentiles("warm", warm)}
    return figures, {
        "data_mib": len(data) // MIB,
        "from": "SeaweedFS on loopback, storage keys, no retries",
        "reads": {"cold": _COLD, "scattered": _SCATTERED, "warm": _WARM},
        "read_bytes": _READ_BYTES,
    }


def _read(window: DiskWindow, place: int, truth: memoryview) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    found = window.read(place, _READ_BYTES)
    took = (time.perf_counter() - began) * 1000
    if found != truth[place : place + _READ_BYTES]:
        raise AssertionError(f"byte {place} of the disk reads otherwise than it was written")
    return took


def _percentiles(name: str, times: Iterable[float]) -> dict[str, float]:
    found = np.percentile(list(times), (50, 99))
    return {f"{name}_p50": round(float(found[0]), 3), f"{name}_p99": round(float(found[1]), 3)}
