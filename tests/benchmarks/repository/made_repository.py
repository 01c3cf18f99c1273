"""A real repository with one point, made without controller and agent: for `seawall rescue restore` and for random reads."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from seawall.repository.crypto.keys import new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.disks import DiskSource
from seawall.repository.format.layout import manifest_name, refmap_name
from seawall.repository.format.root_object import Statement, object_hash
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.port import PackReader
from seawall.repository.recovery_sheet import RecoverySheet, render_recovery_sheet
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.store.port import Store
from seawall.repository.writing.facts import HOW_FULL, WriteSettings
from support.direct_coordinator import DirectCoordinator
from support.point_writing import facts

from .pipeline_ends import write

TENANT = "default"
_LINEAGE = b"lineage-of-bench"
_CONTROLLER, _RECOVERY = b"\x01" * 32, b"\x02" * 32


class MadeRepository:
    """One repository in an empty store."""

    def __init__(self, store: Store, chunk_nominal_bytes: int = 64 * 1024) -> None:
        self._store = store
        self._secrets = new_secrets()
        self._opened = create_repository(
            store,
            lineage_id=_LINEAGE,
            chunk_nominal_bytes=chunk_nominal_bytes,
            recipients={"controller": public_key_of(_CONTROLLER), "recovery": public_key_of(_RECOVERY)},
            secrets=self._secrets,
        )
        epoch = self._secrets.newest_epoch(TENANT)
        self.settings = WriteSettings(
            lineage_id=_LINEAGE,
            tenant=TENANT,
            key_epoch=epoch,
            k_dedup=self._secrets.k_dedup(TENANT, epoch),
            cut_key=self._secrets.cut_key,
            repository_public_key=self._secrets.repository_public_key,
            chunk_nominal_bytes=chunk_nominal_bytes,
        )
        self.coordinator = DirectCoordinator(store)
        self._root_objects: dict[str, bytes] = {}

    def back_up(self, source: DiskSource, number: int = 1) -> str:
        """A committed point; its id."""
        written = write(source, HOW_FULL, self.settings, self.coordinator, number)
        point, vm = facts(number).point_id, str(UUID(int=1))
        statement = Statement(
            lineage_id=_LINEAGE,
            tenant=TENANT,
            vm_id=vm,
            point_id=point,
            key_epoch=self.settings.key_epoch,
            db_epoch=1,
            published_us=1_800_000_000_000_000 + number,
            root_hash=object_hash(written.root_object),
            refmap_hash=object_hash(written.refmap),
            previous_hash=b"",
        )
        self._store.put(refmap_name(TENANT, vm, point), written.refmap)
        self._store.put(manifest_name(TENANT, vm, point), self._opened.sign_manifest(statement, written.root_object))
        self._root_objects[point] = written.root_object
        return point

    def reader(self, point: str, packs: PackReader) -> PointReader:
        """Of a point, with nothing of it in memory yet but its root."""
        root = self._opened.open_root(self._root_objects[point])
        return PointReader(root, _LINEAGE, self.settings.k_dedup, packs)

    def opened_in(self, store: Store) -> OpenRepository:
        """The same repository, opened in a copy of its store."""
        return replace(self._opened, store=store)

    def write_sheet(self, path: Path) -> None:
        """The recovery key that `seawall rescue` asks for."""
        sheet = RecoverySheet(_RECOVERY, _LINEAGE, self._secrets.signing_public_key, self._store.url)
        path.write_text(render_recovery_sheet(sheet))
        path.chmod(0o600)
