"""Where a tool's repository lies, and how much is in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from .ceph_store import CephStore, LogMark


@dataclass(frozen=True)
class Before:
    """The state of a target when a step began."""

    stored_bytes: int
    store_cpu_seconds: float
    log: LogMark | None


@dataclass(frozen=True)
class Difference:
    """What a step did to a target."""

    stored_bytes: int
    store_cpu_seconds: float
    requests: dict[str, int]


class BucketTarget:
    """A bucket of the gateway."""

    def __init__(self, store: CephStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    def before(self) -> Before:
        stored = self._store.stored_bytes(self._bucket)
        return Before(stored, self._store.cpu_seconds(), self._store.mark())

    def since(self, before: Before) -> Difference:
        cpu = self._store.cpu_seconds() - before.store_cpu_seconds
        requests = self._store.requests_since(before.log, self._bucket) if before.log else {}
        return Difference(self._store.stored_bytes(self._bucket) - before.stored_bytes, cpu, requests)


class FolderTarget:
    """A directory. It has no processes and nobody asks it anything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def before(self) -> Before:
        return Before(folder_bytes(self._folder), 0.0, None)

    def since(self, before: Before) -> Difference:
        return Difference(folder_bytes(self._folder) - before.stored_bytes, 0.0, {})


Target = BucketTarget | FolderTarget


def folder_bytes(folder: Path) -> int:
    """Sum of the files' lengths; 0 when there is no folder yet."""
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)
