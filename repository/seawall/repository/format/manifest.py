"""Manifests: root -> inner nodes -> leaf pages. Leaves and inner nodes are sealed META chunks, so an unchanged page costs nothing.

A disk is a row of 64 MiB pages. A leaf lists the chunks of one page; an inner node covers PAGES_PER_NODE pages and keeps each page's slots,
so that a refmap is a union and nobody decodes every leaf.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.record import Locator

PAGE_BYTES = 64 * 1024 * 1024
PAGES_PER_NODE = 256

LEAF_ENTRY = np.dtype(
    [
        (
            "length",
            "<u4",
        ),  # bytes of the disk; a zero entry may cover many maximum-size zero chunks and the last, shorter one
        ("stored_bytes", "<u4"),
        ("offset", "<u4"),  # of the body in that generation of the pack
        ("pack", "<u2"),  # position in Leaf.packs
        ("slot", "<u2"),
        ("codec", "u1"),
        ("zero", "u1"),  # 1: reads as zeroes; all other fields but length are 0
        ("h", "V32"),
    ]
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page. Entries in disk order; their lengths add up to the page's length (the last page of a disk may be short)."""

    entries: NDArray[np.void]  # LEAF_ENTRY
    packs: tuple[tuple[bytes, int], ...]  # (pack id, generation)


@dataclass(frozen=True, slots=True)
class Child:
    """A page in its inner node, or an inner node in the root: the sealed META chunk it is stored in, and the data slots below it.

    `chunk is None` = reads as zeroes entirely; then `slots` is empty.
    """

    h: bytes
    chunk: Locator | None
    slots: Mapping[
        bytes, NDArray[np.uint16]
    ]  # data pack id -> sorted slots used by the page; empty in the root's children


ZERO_CHILD = Child(b"", None, {})


@dataclass(frozen=True, slots=True)
class InnerNode:
    """PAGES_PER_NODE consecutive pages (fewer at the end of the disk)."""

    children: tuple[Child, ...]


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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The libvirt checkpoint born with this point; counts as a base only once the point is committed."""

    name: str
    agent_id: str
    xml: str
    disks: tuple[str, ...]  # those with a bitmap


@dataclass(frozen=True, slots=True)
class Member:
    """A small file of the point: "domain.xml", "nvram"."""

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


def encode_leaf(leaf: Leaf) -> bytes:
    raise NotImplementedError


def decode_leaf(body: bytes) -> Leaf:
    """Raises IntegrityError on anything but what encode_leaf writes."""
    raise NotImplementedError


def encode_node(node: InnerNode) -> bytes:
    raise NotImplementedError


def decode_node(body: bytes) -> InnerNode:
    raise NotImplementedError


def encode_root(root: Root) -> bytes:
    raise NotImplementedError


def decode_root(body: bytes) -> Root:
    raise NotImplementedError


def leaf_slots(leaf: Leaf) -> dict[bytes, NDArray[np.uint16]]:
    """The data slots that a page names: what its Child carries."""
    raise NotImplementedError


def entry_offsets(leaf: Leaf) -> Sequence[int]:
    """Start of each entry within its page."""
    raise NotImplementedError
