"""The body of a manifest root: everything about one point, as canonical JSON."""

from dataclasses import dataclass

from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.errors import IntegrityError
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.checkpoint import Checkpoint
from seawall.repository.format.leaf import PAGE_BYTES
from seawall.repository.format.names import check_id, check_tenant
from seawall.repository.format.node import PAGES_PER_NODE, Child, child_is_sound, locator_is_sound
from seawall.repository.format.record import LINEAGE_ID_BYTES, Locator

NODE_BYTES = PAGES_PER_NODE * PAGE_BYTES
"""Bytes of a disk below one inner node."""


@dataclass(frozen=True, slots=True)
class DiskManifest:
    """One disk in the root."""

    disk: str  # target name
    size_bytes: int
    format: str  # of the source: "qcow2", "raw"
    source: str  # path on the host it was taken from
    sector_bytes: int
    grid_phase: int  # 0
    chunk_nominal_bytes: int
    how: str  # "bitmap", "compare", "full"
    why: str
    nodes: tuple[Child, ...]
    source_id: str = ""  # "inode:1234": tells the file at `source` from another that takes its path; "": cannot be told


@dataclass(frozen=True, slots=True)
class Member:
    """A small file of the point: "domain.xml", "nvram.fd"."""

    name: str
    h: bytes
    chunk: Locator


@dataclass(frozen=True, slots=True)
class Root:
    """The body of a manifest root: everything about one point. Canonical JSON inside, sealed under a data key of its own."""

    lineage_id: bytes
    tenant: str
    vm_id: str
    vm_name: str
    point_id: str
    parent_point_id: str  # "" when there is none
    key_epoch: int
    instant_us: int
    guest_frozen: bool
    disks: tuple[DiskManifest, ...]
    members: tuple[Member, ...]
    checkpoint: Checkpoint | None
    warnings: tuple[tuple[str, str], ...]  # (REASON, message)


def encode_root(root: Root) -> bytes:
    """Raises ValueError when it could not be decoded again."""
    if any(node.slots for disk in root.disks for node in disk.nodes):
        raise ValueError("the children of a root carry no slots: their nodes do")
    body = to_canonical(root)
    try:
        decode_root(body)
    except IntegrityError as error:
        raise ValueError(str(error)) from error
    return body


def decode_root(body: bytes) -> Root:
    """Raises IntegrityError on anything but what encode_root writes."""
    root = from_canonical(Root, body, "manifest root")
    try:
        check_tenant(root.tenant)
        for name in (root.vm_id, root.point_id, *filter(None, [root.parent_point_id])):
            check_id(name)
    except ValueError as error:
        raise IntegrityError(f"manifest root: {error}") from error
    if len(root.lineage_id) != LINEAGE_ID_BYTES or len({disk.disk for disk in root.disks}) != len(root.disks):
        raise IntegrityError("manifest root: its lineage id is malformed, or a disk stands in it twice")
    for disk in root.disks:
        _check_disk(disk)
    for member in root.members:
        if len(member.h) != HASH_BYTES or not locator_is_sound(member.chunk):
            raise IntegrityError(f"manifest root: the chunk of {member.name!r} is out of bounds")
    return root


def node_count(size_bytes: int) -> int:
    """Inner nodes of a disk of this size."""
    return -(-size_bytes // NODE_BYTES)


def _check_disk(disk: DiskManifest) -> None:
    if len(disk.nodes) != node_count(disk.size_bytes) or not all(child_is_sound(node) for node in disk.nodes):
        raise IntegrityError(f"manifest root: the nodes of disk {disk.disk!r} are not those of its size")
