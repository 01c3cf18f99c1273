"""Names of all objects of a repository (repository/DESIGN.md, "Objects"). No other module spells one.

Name functions raise ValueError on parts that may not stand in a name; parse functions return None for what Seawall did not write.
"""

import re
from dataclasses import dataclass
from typing import Literal

from seawall.repository.format.names import ID_PATTERN, TENANT_PATTERN, check_id, check_tenant
from seawall.repository.format.pack_layout import PACK_ID_BYTES

FORMAT_PREFIX = "v1/"
PACKS_PREFIX = "v1/p/"
KEYS_PREFIX = "v1/keys/"
MANIFESTS_PREFIX = "v1/m/"
TOMBSTONES_PREFIX = "v1/t/"
EPOCHS_PREFIX = "v1/c/epoch/"
OPENS_PREFIX = "v1/c/open/"
CONDEMNED_PREFIX = "v1/c/condemned/"
TRIMMED_PREFIX = "v1/c/trimmed/"
EXPORTS_PREFIX = "v1/c/export/"
REFMAPS_PREFIX = "v1/r/"
HAND_INS_PREFIX = "v1/a/"
CONFIG_COPIES = 3

HandInKind = Literal["root", "refmap", "log"]
_HAND_IN_KINDS = ("root", "refmap", "log")
_CONTENT_HASH_BYTES = 32
_EPOCH_DIGITS = 12  # zero-padded, so that names sort as numbers do

_PACK = re.compile(rf"v1/p/({TENANT_PATTERN})/([0-9a-f]{{2}})/([0-9a-f]{{32}})\.(0|[1-9][0-9]{{0,9}})")
_KEY = re.compile(rf"v1/keys/({TENANT_PATTERN})/([1-9][0-9]{{0,9}})\.({TENANT_PATTERN})")
_POINT = re.compile(rf"v1/[mrt]/({TENANT_PATTERN})/({ID_PATTERN})/({ID_PATTERN})")
_HAND_IN = re.compile(rf"v1/a/({ID_PATTERN})/(root|refmap|log)-([0-9a-f]{{64}})")
_EPOCH = re.compile(rf"v1/c/epoch/([0-9]{{12}})-({ID_PATTERN})")
_OPEN = re.compile(r"v1/c/open/([0-9]{12})-([0-9]{12})")
_CONDEMNED = re.compile(r"v1/c/condemned/([0-9]{12})-([0-9]{12})")
_TRIMMED = re.compile(r"v1/c/trimmed/([0-9]{12})")
_EXPORT = re.compile(r"v1/c/export/([0-9]{12})-([0-9]{12})")
_NUMBERS_END = 1 << 32


@dataclass(frozen=True, slots=True)
class PackName:
    """The parts of a pack's name."""

    tenant: str
    pack_id: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class KeyName:
    """The parts of a key object's name."""

    tenant: str
    epoch: int
    wrapper: str


@dataclass(frozen=True, slots=True, order=True)
class PointName:
    """The parts of the name of a manifest, refmap or tombstone."""

    tenant: str
    vm_id: str
    point_id: str


@dataclass(frozen=True, slots=True)
class HandInName:
    """The parts of the name of a handed-in object."""

    attempt_id: str
    what: str
    content_hash: bytes


def config_name(copy: int = 0) -> str:
    """`v1/config`, or its copy 1 or 2."""
    if not 0 <= copy < CONFIG_COPIES:
        raise ValueError(f"there is no copy {copy} of config")
    return "v1/config" if copy == 0 else f"v1/config.{copy}"


def key_name(tenant: str, epoch: int, wrapper: str) -> str:
    """`wrapper` follows the rules of tenant names."""
    return f"{keys_prefix(tenant)}{_counted(epoch, least=1)}.{check_tenant(wrapper)}"


def pack_name(tenant: str, pack_id: bytes, generation: int) -> str:
    if len(pack_id) != PACK_ID_BYTES:
        raise ValueError(f"a pack id has {PACK_ID_BYTES} bytes, not {len(pack_id)}")
    return f"{packs_prefix(tenant)}{pack_id[:1].hex()}/{pack_id.hex()}.{_counted(generation, least=0)}"


def manifest_name(tenant: str, vm_id: str, point_id: str) -> str:
    return f"{manifests_prefix(tenant)}{check_id(vm_id)}/{check_id(point_id)}"


def refmap_name(tenant: str, vm_id: str, point_id: str) -> str:
    return f"{refmaps_prefix(tenant)}{check_id(vm_id)}/{check_id(point_id)}"


def tombstone_name(tenant: str, vm_id: str, point_id: str) -> str:
    return f"{tombstones_prefix(tenant)}{check_id(vm_id)}/{check_id(point_id)}"


def hand_in_name(attempt_id: str, what: HandInKind, content_hash: bytes) -> str:
    """`content_hash`: BLAKE3, 32 bytes; part of the name, so a second hand-in never meets the first."""
    if what not in _HAND_IN_KINDS or len(content_hash) != _CONTENT_HASH_BYTES:
        raise ValueError("a hand-in is a root, a refmap or a log, named by a hash of 32 bytes")
    return f"{hand_ins_prefix(attempt_id)}{what}-{content_hash.hex()}"


def epoch_name(epoch: int, leader_id: str) -> str:
    """Announces a controller's start: `v1/c/epoch/<n>-<uuid>`."""
    return f"{EPOCHS_PREFIX}{_padded(epoch)}-{check_id(leader_id)}"


def open_name(epoch: int, number: int) -> str:
    """What of all epochs before counts: `v1/c/open/<epoch>-<number>`, the greatest decides."""
    return f"{OPENS_PREFIX}{_padded(epoch)}-{_padded(number)}"


def condemned_name(seq: int, epoch: int) -> str:
    """Announces what leaves: `v1/c/condemned/<seq>-<epoch>`."""
    return f"{CONDEMNED_PREFIX}{_padded(seq)}-{_padded(epoch)}"


def trimmed_name(seq: int) -> str:
    """Says that condemn logs up to this number may be gone: `v1/c/trimmed/<seq>`."""
    return f"{TRIMMED_PREFIX}{_padded(seq)}"


def export_name(epoch: int, number: int) -> str:
    """What a controller knows beside the repository: `v1/c/export/<epoch>-<number>`, the greatest counts."""
    return f"{EXPORTS_PREFIX}{_padded(epoch)}-{_padded(number)}"


def pack_generations_prefix(tenant: str, pack_id: bytes) -> str:
    """All generations of one pack begin with it."""
    return pack_name(tenant, pack_id, 0)[:-1]


def packs_prefix(tenant: str) -> str:
    return f"{PACKS_PREFIX}{check_tenant(tenant)}/"


def keys_prefix(tenant: str) -> str:
    return f"{KEYS_PREFIX}{check_tenant(tenant)}/"


def manifests_prefix(tenant: str) -> str:
    return f"v1/m/{check_tenant(tenant)}/"


def vm_manifests_prefix(tenant: str, vm_id: str) -> str:
    return f"{manifests_prefix(tenant)}{check_id(vm_id)}/"


def refmaps_prefix(tenant: str) -> str:
    return f"v1/r/{check_tenant(tenant)}/"


def tombstones_prefix(tenant: str) -> str:
    return f"v1/t/{check_tenant(tenant)}/"


def hand_ins_prefix(attempt_id: str) -> str:
    return f"v1/a/{check_id(attempt_id)}/"


def parse_pack_name(name: str) -> PackName | None:
    match = _PACK.fullmatch(name)
    if match is None or match[3][:2] != match[2] or int(match[4]) >= _NUMBERS_END:
        return None
    return PackName(match[1], bytes.fromhex(match[3]), int(match[4]))


def parse_key_name(name: str) -> KeyName | None:
    match = _KEY.fullmatch(name)
    if match is None or int(match[2]) >= _NUMBERS_END:
        return None
    return KeyName(match[1], int(match[2]), match[3])


def parse_point_name(name: str) -> PointName | None:
    """Of a manifest, a refmap or a tombstone."""
    match = _POINT.fullmatch(name)
    return PointName(match[1], match[2], match[3]) if match else None


def parse_hand_in_name(name: str) -> HandInName | None:
    match = _HAND_IN.fullmatch(name)
    return HandInName(match[1], match[2], bytes.fromhex(match[3])) if match else None


def parse_epoch_name(name: str) -> tuple[int, str] | None:
    """(number, the leader's id)."""
    match = _EPOCH.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def parse_open_name(name: str) -> tuple[int, int] | None:
    """(epoch, number)."""
    match = _OPEN.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def parse_condemned_name(name: str) -> tuple[int, int] | None:
    """(number, epoch)."""
    match = _CONDEMNED.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def parse_trimmed_name(name: str) -> int | None:
    """The number."""
    match = _TRIMMED.fullmatch(name)
    return int(match[1]) if match else None


def parse_export_name(name: str) -> tuple[int, int] | None:
    """(epoch, number)."""
    match = _EXPORT.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def _counted(number: int, least: int) -> int:
    if not least <= number < _NUMBERS_END:
        raise ValueError(f"{number} is no epoch or generation")
    return number


def _padded(epoch: int) -> str:
    if not 0 <= epoch < 10**_EPOCH_DIGITS:
        raise ValueError(f"{epoch} is no epoch")
    return f"{epoch:0{_EPOCH_DIGITS}d}"
