"""A WriteCoordinator and PackReader straight on a Store, the chunk index in memory: the pipelines without a controller."""

from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError, ObjectExists, ObjectMissing
from seawall.repository.format.layout import pack_name
from seawall.repository.format.pack import SealedPack, parse_table
from seawall.repository.format.record import ChunkType, Codec, Locator
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.store.port import Store


class DirectCoordinator:
    """Both ports. `fail_store_after` and `fail_lookup_after` raise from the n-th call on; `lookups` and `packs` say what was asked."""

    def __init__(self, store: Store, tenant: str = "default") -> None:
        self.store = store
        self._tenant = tenant
        self._lock = Lock()
        self.index: dict[bytes, Locator] = {}
        self.lookups: list[int] = []
        self.packs: list[SealedPack] = []
        self.reads = 0
        self.fail_store_after: int | None = None
        self.fail_lookup_after: int | None = None
        self.fault: Exception = ConnectionError("the controller went away")

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        assert 0 < len(chunk_ids) <= 4096
        with self._lock:
            self.lookups.append(len(chunk_ids))
            if self.fail_lookup_after is not None and len(self.lookups) > self.fail_lookup_after:
                raise self.fault
            return {one: self.index[one] for one in chunk_ids if one in self.index}

    def store_pack(self, pack: SealedPack) -> None:
        with self._lock:
            if self.fail_store_after is not None and len(self.packs) >= self.fail_store_after:
                raise self.fault
            self.packs.append(SealedPack(pack.pack_id, b"", pack.table, pack.meta))
        for generation in (0, 1) if pack.meta else (0,):
            try:
                self.store.put(self.name(pack.pack_id, generation), memoryview(pack.body))
            except ObjectExists as error:
                raise AssertionError("a pack was stored twice") from error
        self._enter(pack)

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        with self._lock:
            self.reads += 1
        body = self.store.get_range(self.name(pack_id, generation), offset, length)
        if len(body) != length:
            raise IntegrityError(f"pack {pack_id.hex()}: ends before byte {offset + length}")
        return body

    def generations(self, pack_id: bytes) -> Sequence[int]:
        return StorePackReader(self.store, self._tenant).generations(pack_id)

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        return StorePackReader(self.store, self._tenant).table(pack_id, generation)

    def name(self, pack_id: bytes, generation: int) -> str:
        return pack_name(self._tenant, pack_id, generation)

    def forget(self, pack_id: bytes, slots: Sequence[int]) -> None:
        """Take slots out of the index, as condemning does."""
        with self._lock:
            self.index = {
                one: found for one, found in self.index.items() if found.pack_id != pack_id or found.slot not in slots
            }

    def _enter(self, pack: SealedPack) -> None:
        """The index learns a pack from the table in its stored bytes, as the controller does."""
        name = self.name(pack.pack_id, 0)
        size = self.store.head(name).size_bytes
        table = parse_table(self.store.get_suffix(name, 65536), size)
        if isinstance(table, int):
            table = parse_table(self.store.get_suffix(name, table), size)
        if isinstance(table, int):
            raise ObjectMissing(name)
        with self._lock:
            for row in table:
                if row["type"] == ChunkType.DATA:
                    self.index[row["chunk_id"].tobytes()] = Locator(
                        pack.pack_id,
                        0,
                        int(row["slot"]),
                        int(row["offset"]),
                        int(row["stored_bytes"]),
                        int(row["raw_bytes"]),
                        Codec(int(row["codec"])),
                    )
