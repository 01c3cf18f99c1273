"""One repository, open: its record, its store and keys, its chunk index. Thread-safe; every method may block on the store."""

import threading
from collections import OrderedDict

import numpy as np
import structlog
from numpy.typing import NDArray

from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import Pack, PackState, RepositoryRecord
from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError
from seawall.repository.forgetting.leaders import NOBODY, LeaderMark
from seawall.repository.format.layout import pack_name
from seawall.repository.format.manifest import Root
from seawall.repository.format.pack import PackTail
from seawall.repository.format.root_object import Statement
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.generations import stored_generations
from seawall.repository.repository import OpenRepository
from seawall.repository.store.location import is_protected, parse_location
from seawall.repository.store.port import Store

_log = structlog.get_logger()

POINTS_KEPT = 16
META_GENERATIONS = (0, 1)


class OpenedRepository:
    """What the controller's parts ask of a repository."""

    def __init__(
        self, record: RepositoryRecord, repository: OpenRepository, index: ChunkIndex, mark: LeaderMark = NOBODY
    ) -> None:
        """`mark`: how this process announced itself in the bucket."""
        self.record = record
        self.mark = mark
        self.repository = repository
        self.index = index
        self._packs: OrderedDict[str, frozenset[bytes]] = OrderedDict()
        self._tenants: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @property
    def store(self) -> Store:
        return self.repository.store

    @property
    def lineage_id(self) -> bytes:
        return self.repository.config.lineage_id

    def key_epoch(self, tenant: str) -> int:
        """To write under. The keys of a tenant that is new to the repository are made here, for all that open it."""
        recipients = {each.name: bytes.fromhex(each.public_key_hex) for each in self.record.wrappers}
        return self.repository.epoch_to_write(tenant, recipients, self._key_damaged)

    def _key_damaged(self, name: str, error: RepositoryError) -> None:
        """Backups go on, as our own key object opens; who holds the other key could not read them."""
        _log.error(
            "key_object.damaged",
            repository=self.record.name,
            name=name,
            error=str(error),
            next_step="Put it back from a replica of the bucket, or an older version of it: what is backed up for this tenant "
            "cannot be read with this key until then.",
        )

    def k_dedup(self, tenant: str, epoch: int) -> bytes:
        return self.repository.k_dedup(tenant, epoch)

    @property
    def tenants(self) -> frozenset[str]:
        """Of everything in the index, and maybe more: those who had keys when it was opened, and whose packs came since."""
        return self._tenants.union(tenant for tenant, _ in self.repository.secrets.dedup_keys)

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
        """Read the pack's table back from the store and enter it in the index. A new meta pack must be there twice.

        Returns (bytes of one generation, slots). Raises ObjectMissing, IntegrityError, FormatUnsupported, StoreUnavailable.
        """
        generation, tail = self._tail(pack)
        if pack.state is PackState.OPEN:
            self._check_new(pack, tail)
        with self._lock:
            self._tenants |= {pack.tenant}
        self.index.insert_pack(pack.id, generation, pack.host_id, tail.table, pack.verified and self.shares_packs)
        if pack.unusable:
            self.index.withdraw(pack.id, pack.unusable)
        return tail.footer.pack_bytes, len(tail.table)

    def withdraw(self, pack_id: bytes, slots: SlotSet) -> None:
        """They answer no Lookup any more."""
        self.index.withdraw(pack_id, slots)

    def forget_pack(self, pack_id: bytes) -> None:
        self.index.forget_pack(pack_id)

    @property
    def shares_packs(self) -> bool:
        """Whether a verified pack may answer other hosts: what was verified must be what is read later.

        Where an S3 store lets the holder of an upload URL overwrite, a hostile host could replace it. A folder has no walls to begin with.
        """
        able = self.record.capabilities
        return self.store.url.startswith("file:") or (able.conditional_put_atomic and able.presigned_requires_condition)

    @property
    def packs_without_md5(self) -> bool:
        """Whether writers may spare a pack's MD5: it is named by its hash, read back soon, and altered by nothing on its way."""
        return self.record.capabilities.takes_bare_put and is_protected(parse_location(self.record.url))

    def verified(self, pack: Pack) -> None:
        """It was read whole and proven: from now on it answers every host."""
        if self.shares_packs:
            self.index.mark_verified(pack.id)

    def entered_anew(self, pack: Pack) -> None:
        """Slots came back, a proof was taken back, or offsets changed. Where its table cannot be read now, only its bad slots leave."""
        try:
            self._tail(pack)
        except RepositoryError as error:
            _log.warning("index.pack_left_as_it_was", pack=pack.id.hex(), error=str(error))
            self.index.withdraw(pack.id, pack.unusable)
            return
        self.index.forget_pack(pack.id)
        self.index_pack(pack)

    def replace_generation(self, pack: Pack) -> None:
        """The pack has another generation: its offsets changed. Raises as `index_pack` does."""
        generation, tail = self._tail(pack)
        self.index.replace_generation(pack.id, generation, tail.table)

    def _tail(self, pack: Pack) -> tuple[int, PackTail]:
        """Of the generation that counts; where it is gone (a database older than the bucket), of the newest."""
        try:
            return pack.generation, self.repository.read_tail(pack.tenant, pack.id, pack.generation)
        except ObjectMissing:
            found = stored_generations(self.store, pack.tenant, pack.id)
            if not found or pack.state is PackState.OPEN:
                raise
            return found[0], self.repository.read_tail(pack.tenant, pack.id, found[0])

    def _check_new(self, pack: Pack, tail: PackTail) -> None:
        """Collection counts on slot i being the i-th record of the first generation."""
        if int(tail.table["slot"][-1]) != len(tail.table) - 1:
            raise IntegrityError(f"pack {pack.id.hex()}: its slots are not numbered without gaps")
        if pack.meta:
            for generation in META_GENERATIONS[1:]:
                self.store.head(pack_name(pack.tenant, pack.id, generation))

    def raw_lengths(self, pack: Pack) -> NDArray[np.uint32]:
        """Plain bytes by slot of a STORED pack; its table is read again if the index lost it. A pack that is gone holds nothing."""
        lengths = self.index.raw_lengths(pack.id)
        if lengths is None:
            try:
                self.index_pack(pack)
            except (ObjectMissing, IntegrityError):  # one with a damaged table: verification says what of it is left
                return np.zeros(0, dtype=np.uint32)
            lengths = self.index.raw_lengths(pack.id)
        return np.zeros(0, dtype=np.uint32) if lengths is None else lengths
