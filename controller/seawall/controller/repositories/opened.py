"""One repository, open: its record, its store and keys, its chunk index. Thread-safe; every method may block on the store."""

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import Pack, RepositoryRecord
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.layout import pack_name
from seawall.repository.format.manifest import Root
from seawall.repository.format.root_object import Statement
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

POINTS_KEPT = 16
META_GENERATIONS = (0, 1)


class OpenedRepository:
    """What the controller's parts ask of a repository."""

    def __init__(self, record: RepositoryRecord, repository: OpenRepository, index: ChunkIndex) -> None:
        self.record = record
        self.repository = repository
        self.index = index
        self._packs: OrderedDict[str, frozenset[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def store(self) -> Store:
        return self.repository.store

    @property
    def lineage_id(self) -> bytes:
        return self.repository.config.lineage_id

    def key_epoch(self, tenant: str) -> int:
        return self.repository.secrets.newest_epoch(tenant)

    def k_dedup(self, tenant: str, epoch: int) -> bytes:
        return self.repository.secrets.k_dedup(tenant, epoch)

    def open_root(self, root_object: bytes) -> Root:
        """Raises WrongKey, IntegrityError, FormatUnsupported."""
        return self.repository.open_root(root_object)

    def sign_manifest(self, statement: Statement, root_object: bytes) -> bytes:
        return self.repository.sign_manifest(statement, root_object)

    def point_key(self, tenant: str, vm_id: str, point_id: str) -> tuple[int, bytes]:
        """(key epoch, data key) of a committed point, its manifest read and proven."""
        statement, root_object = self.repository.read_manifest(tenant, vm_id, point_id)
        return statement.key_epoch, self.repository.unseal_data_key(root_object)

    def packs_of_point(self, tenant: str, vm_id: str, point_id: str) -> frozenset[bytes]:
        """Ids of the packs that a committed point names, as its signed manifest proves; those of the last few points are kept.

        Raises ObjectMissing, IntegrityError, RefmapInvalid, FormatUnsupported.
        """
        with self._lock:
            if point_id in self._packs:
                self._packs.move_to_end(point_id)
                return self._packs[point_id]
        packs = frozenset(self.repository.read_refmap(tenant, vm_id, point_id).slots())
        with self._lock:
            self._packs[point_id] = packs
            while len(self._packs) > POINTS_KEPT:
                self._packs.popitem(last=False)
        return packs

    def index_pack(self, pack: Pack) -> tuple[int, int]:
        """Read the pack's table back from the store and enter it in the index. A meta pack must be there twice.

        Returns (bytes of one generation, slots). Raises ObjectMissing, IntegrityError, FormatUnsupported, StoreUnavailable.
        """
        tail = self.repository.read_tail(pack.tenant, pack.id, 0)
        if pack.meta:
            for generation in META_GENERATIONS[1:]:
                self.store.head(pack_name(pack.tenant, pack.id, generation))
        self.index.insert_pack(pack.id, 0, pack.host_id, tail.table)
        return tail.footer.pack_bytes, len(tail.table)

    def raw_lengths(self, pack: Pack) -> NDArray[np.uint32]:
        """Plain bytes by slot of a STORED pack; its table is read again if the index lost it. A pack that is gone holds nothing."""
        lengths = self.index.raw_lengths(pack.id)
        if lengths is None:
            try:
                self.index_pack(pack)
            except ObjectMissing:
                return np.zeros(0, dtype=np.uint32)
            lengths = self.index.raw_lengths(pack.id)
        return np.zeros(0, dtype=np.uint32) if lengths is None else lengths
