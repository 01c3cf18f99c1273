"""How many bytes come back when points go: the slots that nothing else needs, at the average of their packs. An answer for people.

Collection decides by itself what goes; this reads the same refmaps, with a bound on time and memory, while somebody waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import Pack, Point, PointState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.errors import RepositoryError

SECONDS = 15.0
MOST_SLOTS = 16 << 20
SLICE = 500

Slots = dict[bytes, NDArray[np.uint16]]


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """`known`: False where it was too much to read, or a refmap cannot be read."""

    known: bool
    bytes: int
    points: int


class _TooMuch(Exception):
    """Time or memory is over."""


class Reclaim:
    """Thread-safe, blocking."""

    def __init__(self, store: Store, repositories: RepositoryCatalogue, clock: Clock, seconds: float = SECONDS) -> None:
        self._store = store
        self._repositories = repositories
        self._clock = clock
        self._seconds = seconds

    def of(self, going: Sequence[Point]) -> Reclaimed:
        """Of points that go together."""
        deadline = self._clock.monotonic_seconds() + self._seconds
        try:
            total = sum(
                self._in_repository(
                    repository_id, [point for point in going if point.repository_id == repository_id], deadline
                )
                for repository_id in sorted({point.repository_id for point in going})
            )
        except (_TooMuch, RepositoryError, ControllerError):
            return Reclaimed(False, 0, len(going))
        return Reclaimed(True, total, len(going))

    def _in_repository(self, repository_id: str, going: Sequence[Point], deadline: float) -> int:
        opened = self._repositories.open(repository_id)
        gone = {point.id for point in going}
        staying = [
            point
            for point in self._store.read_now(lambda each: _available(each, repository_id))
            if point.id not in gone
        ]
        slots: Slots = {}
        for refmap in self._refmaps(opened, going, deadline):
            add(slots, refmap)
            if sum(len(some) for some in slots.values()) > MOST_SLOTS:
                raise _TooMuch
        for refmap in self._refmaps(opened, staying, deadline):
            subtract(slots, refmap)
        packs = self._store.read_now(lambda each: _packs(each, repository_id, list(slots)))
        return bytes_of(slots, packs)

    def _refmaps(
        self, opened: OpenedRepository, points: Iterable[Point], deadline: float
    ) -> Iterable[Mapping[bytes, NDArray[np.uint16]]]:
        for point in points:
            if self._clock.monotonic_seconds() > deadline:
                raise _TooMuch
            yield opened.repository.read_refmap(point.tenant, point.vm_id, point.id).slots()


def add(slots: Slots, refmap: Mapping[bytes, NDArray[np.uint16]]) -> None:
    for pack_id, some in refmap.items():
        slots[pack_id] = np.union1d(slots[pack_id], some) if pack_id in slots else some


def subtract(slots: Slots, refmap: Mapping[bytes, NDArray[np.uint16]]) -> None:
    for pack_id in slots.keys() & refmap.keys():
        left = np.setdiff1d(slots[pack_id], refmap[pack_id], assume_unique=True)
        if len(left):
            slots[pack_id] = left
        else:
            del slots[pack_id]


def bytes_of(slots: Slots, packs: Mapping[bytes, Pack]) -> int:
    """Of all copies. A pack that has no slots in its row, or none at all, counts nothing."""
    total = 0
    for pack_id, some in slots.items():
        pack = packs.get(pack_id)
        if pack is not None and pack.slots:
            total += pack.size_bytes * len(pack.generations) * min(len(some), pack.slots) // pack.slots
    return total


def _available(transaction: Transaction, repository_id: str) -> list[Point]:
    found: list[Point] = []
    after = ""
    while page := transaction.points.roots(repository_id, after=after):
        found += page
        after = page[-1].id
    # What is being published may have no refmap in the bucket yet; what is being deleted keeps nothing.
    return [point for point in found if point.state is PointState.AVAILABLE]


def _packs(transaction: Transaction, repository_id: str, pack_ids: Sequence[bytes]) -> dict[bytes, Pack]:
    packs: dict[bytes, Pack] = {}
    for start in range(0, len(pack_ids), SLICE):
        packs |= transaction.packs.packs(repository_id, pack_ids[start : start + SLICE])
    return packs
