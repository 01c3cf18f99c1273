"""A folder repository as somebody with the controller's key sees it: its points, and the disk of one read back through the bucket alone."""

from pathlib import Path

from seawall.controller.config import StatePaths
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.secrets import SecretBox
from seawall.repository.clock import SystemClock
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER
from seawall.repository.format.layout import MANIFESTS_PREFIX, PointName, parse_point_name
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.store.folder import FolderStore


class StoredPoints:
    """`state`: the directory of the controller that made it."""

    def __init__(self, folder: Path, state: Path) -> None:
        paths = StatePaths(state)
        wrapper = load_wrapper_key(paths, SecretBox.from_file(paths.kek))
        self.store = FolderStore(folder, SystemClock())
        self.repository: OpenRepository = open_repository(self.store, CONTROLLER_WRAPPER, wrapper.reveal())
        self.database = paths.database

    def points(self) -> list[PointName]:
        return sorted(name for info in self.store.list(MANIFESTS_PREFIX) if (name := parse_point_name(info.name)))

    def image(self, point: PointName) -> bytes:
        """Of its disk vda."""
        statement, root_object = self.repository.read_manifest(point.tenant, point.vm_id, point.point_id)
        k_dedup = self.repository.secrets.k_dedup(point.tenant, statement.key_epoch)
        packs = StorePackReader(self.store, point.tenant)
        root = self.repository.open_root(root_object)
        reader = PointReader(root, self.repository.config.lineage_id, k_dedup, packs)
        manifest = reader.disk("vda")
        assert manifest is not None
        sink = _Image(manifest.size_bytes)
        restore_disk(reader, manifest, sink)
        return bytes(sink.body)


class _Image:
    """A DiskSink in memory."""

    def __init__(self, size_bytes: int) -> None:
        self.body = bytearray(size_bytes)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.body[offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        self.body[offset : offset + length] = bytes(length)

    def flush(self) -> None:
        """Nothing to do."""
