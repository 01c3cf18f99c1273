"""What a point writer is told and what it gives back. Built by the backup worker; plain values."""

from dataclasses import dataclass, field

from seawall.repository.disks import DiskSource
from seawall.repository.format.manifest import Checkpoint, Root
from seawall.repository.format.pack import PACK_TARGET_BYTES

HOW_BITMAP = "bitmap"
"""Clean extents keep the parent's entries and are not read."""
HOW_COMPARE = "compare"
"""All that does not read as zeroes is read; a chunk that equals the parent's at the same place keeps its entry, without Lookup."""
HOW_FULL = "full"
"""All that does not read as zeroes is read; the parent is not looked at."""


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """Of the repository and the tenant, as the controller granted them for this attempt."""

    lineage_id: bytes
    tenant: str
    key_epoch: int
    k_dedup: bytes = field(repr=False)
    cut_key: bytes = field(repr=False)
    repository_public_key: bytes
    chunk_nominal_bytes: int = 64 * 1024
    compression_level: int = 3
    pack_target_bytes: int = PACK_TARGET_BYTES


@dataclass(frozen=True, slots=True)
class DiskToWrite:
    """One disk of the point. `how` is a wish: without a usable parent it becomes "full", and `why` says so."""

    disk: str  # target name
    format: str
    source_path: str
    sector_bytes: int
    how: str
    why: str
    source: DiskSource
    source_id: str = ""  # as in DiskManifest


@dataclass(frozen=True, slots=True)
class PointFacts:
    """What the root says of the point besides its disks."""

    vm_id: str
    vm_name: str
    point_id: str
    instant_us: int
    guest_frozen: bool
    checkpoint: Checkpoint | None
    warnings: tuple[tuple[str, str], ...] = ()  # (REASON, message)


@dataclass(frozen=True, slots=True)
class DiskStats:
    """What became of one disk. `read`: from the source; `new`: plain bytes of chunks that had to be stored; `stored`: their records."""

    disk: str
    virtual_bytes: int
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    how: str
    why: str


@dataclass(frozen=True, slots=True)
class WrittenPoint:
    """All packs are stored. What remains is to hand in the two objects."""

    root: Root
    root_object: bytes
    refmap: bytes
    disks: tuple[DiskStats, ...]
    meta_stored_bytes: int
