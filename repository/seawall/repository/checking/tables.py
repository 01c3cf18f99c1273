"""Tables of the packs that manifests name, each read once while it stays in memory. Called by the structure check."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.checking.port import Ledger, PackFacts
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.record import Locator
from seawall.repository.repository import OpenRepository

TABLES_KEPT_BYTES = 32 * 1024 * 1024

UNREADABLE = (ObjectMissing, IntegrityError, StoreRefused)


@dataclass(frozen=True, slots=True)
class PackTable:
    """`table` None: the pack's end cannot be read, or the catalogue has no such pack (`facts` None)."""

    facts: PackFacts | None
    table: NDArray[np.void] | None

    def rows(self, slots: NDArray[np.uint16]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """(a row for each slot, whether the table has it): a row that it lacks is some other."""
        if self.table is None or not len(self.table):
            return np.zeros(len(slots), dtype=[("slot", "<u2")]), np.zeros(len(slots), dtype=bool)
        at = np.minimum(np.searchsorted(self.table["slot"], slots), len(self.table) - 1)
        rows = self.table[at]
        return rows, rows["slot"] == slots

    def current(self, generation: int) -> bool:
        """Whether offsets in a locator of this generation hold."""
        return self.facts is not None and generation in self.facts.generations


class Tables:
    """One thread's."""

    def __init__(self, repository: OpenRepository, ledger: Ledger, unreadable: Callable[[PackFacts], None]) -> None:
        """`unreadable`: called once for each pack whose end cannot be read."""
        self._repository = repository
        self._ledger = ledger
        self._unreadable = unreadable
        self._told: set[bytes] = set()
        self._kept: OrderedDict[bytes, PackTable] = OrderedDict()
        self._bytes = 0

    def of(self, pack_id: bytes) -> PackTable:
        """Raises StoreUnavailable, BucketMissing."""
        found = self._kept.get(pack_id)
        if found is not None:
            self._kept.move_to_end(pack_id)
            return found
        found = self._read(pack_id)
        self._kept[pack_id] = found
        self._bytes += _weight(found)
        while self._bytes > TABLES_KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _weight(self._kept.popitem(last=False)[1])
        return found

    def _read(self, pack_id: bytes) -> PackTable:
        facts = self._facts(pack_id)
        if facts is None:
            return PackTable(None, None)
        for generation in facts.generations:
            try:
                return PackTable(facts, self._repository.read_table(facts.tenant, pack_id, generation))
            except (*UNREADABLE, FormatUnsupported):
                # One damaged byte looks like a newer version: the whole pack tells which.
                continue
        now = self._facts(pack_id)
        if now is not None and now.generation != facts.generation:  # compacted meanwhile
            return self._read(pack_id)
        if pack_id not in self._told and now is not None:
            self._told.add(pack_id)
            self._unreadable(facts)
        return PackTable(now, None)

    def _facts(self, pack_id: bytes) -> PackFacts | None:
        return self._ledger.packs([pack_id]).get(pack_id)


def _weight(table: PackTable) -> int:
    return 512 + (0 if table.table is None else table.table.nbytes)


def agrees(row: np.void, chunk: Locator, identity: bytes, *, current: bool) -> bool:
    """Whether the table's row is the chunk that a locator names. `current`: the locator's offset holds for this very generation."""
    place = (int(row["offset"]), int(row["stored_bytes"])) == (chunk.offset, chunk.stored_bytes)
    same = (int(row["raw_bytes"]), int(row["codec"])) == (chunk.raw_bytes, chunk.codec)
    return row["chunk_id"].tobytes() == identity and same and (place or not current)
