"""Tombstones `v1/t/<tenant>/<vm>/<point>`: the controller's signed word that a committed point was given up. Written before `m/` goes.

header | length u32 | burial (canonical JSON) | Ed25519 signature (64) over domain + all before
"""

from dataclasses import dataclass

from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.crypto.signing import TOMBSTONE_DOMAIN, sign
from seawall.repository.errors import IntegrityError
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import signed_part, with_descriptor
from seawall.repository.format.header import TOMBSTONE
from seawall.repository.format.layout import tombstone_name
from seawall.repository.format.record import LINEAGE_ID_BYTES

WHAT = "tombstone"


@dataclass(frozen=True, slots=True)
class Burial:
    """What the controller signs. It holds for this point alone; `manifest_hash` says which `m/` it was decided on, and is compared by who
    deletes, not by who reads: a point has one `m/` for ever (repository/DESIGN.md, "Forgetting").
    """

    lineage_id: bytes
    tenant: str
    vm_id: str
    point_id: str
    manifest_hash: bytes  # BLAKE3 of the m/ object that goes
    epoch: int  # of the leader who decided, as in v1/c/epoch/
    decided_us: int


def sign_tombstone(burial: Burial, signing_secret_key: bytes) -> bytes:
    """The `t/` object. Ed25519 signs deterministically: one decision, one body. Raises ValueError on names that no point has."""
    tombstone_name(burial.tenant, burial.vm_id, burial.point_id)
    if len(burial.lineage_id) != LINEAGE_ID_BYTES or len(burial.manifest_hash) != HASH_BYTES:
        raise ValueError("a tombstone names its lineage with 16 bytes and its manifest with 32")
    front = with_descriptor(TOMBSTONE, to_canonical(burial))
    return front + sign(signing_secret_key, TOMBSTONE_DOMAIN, front)


def open_tombstone(body: bytes, signing_public_key: bytes) -> Burial:
    """Signature checked; whose point it buries is for the caller to compare. Raises IntegrityError, FormatUnsupported."""
    return told_apart(lambda read: _proven_burial(read, signing_public_key), body, WHAT)


def _proven_burial(body: bytes, signing_public_key: bytes) -> Burial:
    descriptor, start, end = signed_part(body, TOMBSTONE, TOMBSTONE_DOMAIN, signing_public_key, WHAT)
    if start != end:
        raise IntegrityError(f"{WHAT}: {len(body)} bytes are not its length")
    return from_canonical(Burial, descriptor, "tombstone's statement")
