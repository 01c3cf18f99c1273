"""Manifests: root -> inner nodes -> leaf pages. Leaves and inner nodes are sealed META chunks, so an unchanged page costs nothing.

A disk is a row of 64 MiB pages. A leaf lists the chunks of one page; an inner node covers PAGES_PER_NODE pages and keeps each page's slots,
so that a refmap is a union and nobody decodes every leaf. This module gathers the three levels; each has a module of its own.
"""

from seawall.repository.format.checkpoint import Checkpoint
from seawall.repository.format.leaf import (
    LEAF_ENTRY,
    PAGE_BYTES,
    Leaf,
    canonical_leaf,
    decode_leaf,
    encode_leaf,
    entry_offsets,
    leaf_slots,
)
from seawall.repository.format.node import PAGES_PER_NODE, ZERO_CHILD, Child, InnerNode, decode_node, encode_node
from seawall.repository.format.root import (
    NODE_BYTES,
    DiskManifest,
    Member,
    Root,
    decode_root,
    encode_root,
    node_count,
)

__all__ = [
    "LEAF_ENTRY",
    "NODE_BYTES",
    "PAGES_PER_NODE",
    "PAGE_BYTES",
    "ZERO_CHILD",
    "Checkpoint",
    "Child",
    "DiskManifest",
    "InnerNode",
    "Leaf",
    "Member",
    "Root",
    "canonical_leaf",
    "decode_leaf",
    "decode_node",
    "decode_root",
    "encode_leaf",
    "encode_node",
    "encode_root",
    "entry_offsets",
    "leaf_slots",
    "node_count",
]
