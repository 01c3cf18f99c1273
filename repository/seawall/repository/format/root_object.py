"""The two outer shells of a root: what an agent hands in, and the signed `m/` object that the controller makes of it.

root object = header | names length u32 | names (canonical JSON) | HPKE-sealed data key (80) | nonce (12) | AES-GCM(encode_root)
  HPKE info = domain + all before the sealed key; AAD = all before the nonce: so lineage, tenant, VM, point and epoch are bound to both
m/ object   = header | statement length u32 | statement (canonical JSON) | Ed25519 signature (64) | root object, verbatim
"""

import secrets
from dataclasses import dataclass

from blake3 import blake3

from seawall.repository.crypto.aead import KEY_BYTES, new_nonce, open_box, seal_box
from seawall.repository.crypto.sealing import SEAL_OVERHEAD_BYTES, open_sealed, public_key_of, recipient_id, seal_to
from seawall.repository.crypto.signing import MANIFEST_DOMAIN, SIGNATURE_BYTES, sign, verify
from seawall.repository.errors import IntegrityError, WrongKey
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.header import MANIFEST, ROOT
from seawall.repository.format.root import Root, decode_root, encode_root

_INFO_DOMAIN = b"seawall v1 root data key\x00"
_SEALED_KEY_BYTES = SEAL_OVERHEAD_BYTES + KEY_BYTES


LEADERS_FROM = 1 << 40
"""`db_epoch` of a statement from here on is this and the epoch of the leader that wrote the intent; below, the database's epoch, which says
nothing of leaders (manifests of before 2026-11-23).
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What the controller signs."""

    lineage_id: bytes
    tenant: str
    vm_id: str
    point_id: str
    key_epoch: int
    db_epoch: int
    published_us: int
    root_hash: bytes  # BLAKE3 of the root object
    refmap_hash: bytes  # BLAKE3 of the r/ object
    previous_hash: bytes  # BLAKE3 of the VM's previous m/ object, b"" for the first

    @property
    def leader_epoch(self) -> int | None:
        """Of the leader that wrote the intent, as in `v1/c/epoch`. None: the manifest does not say."""
        return self.db_epoch - LEADERS_FROM if self.db_epoch >= LEADERS_FROM else None


@dataclass(frozen=True, slots=True)
class RootNames:
    """What a root object says of itself in clear; bound to its data key and its body."""

    lineage_id: bytes
    tenant: str
    vm_id: str
    point_id: str
    key_epoch: int
    recipient: bytes  # id of the repository's public key, 8 bytes


def object_hash(body: bytes) -> bytes:
    """BLAKE3, 32 bytes: how statements, hand-ins and grants name an object."""
    return blake3(body).digest()


def seal_root(root: Root, repository_public_key: bytes) -> bytes:
    """The root object: the body under a fresh data key, that key sealed to the repository. Raises ValueError on a malformed root."""
    data_key = secrets.token_bytes(KEY_BYTES)
    front = root_front(root, repository_public_key)
    sealed_key = seal_to(repository_public_key, data_key, data_key_binding(front))
    return assemble_root(root, front, sealed_key, data_key, new_nonce())


def root_front(root: Root, repository_public_key: bytes) -> bytes:
    """Header and names: all that comes before the sealed data key."""
    recipient = recipient_id(repository_public_key)
    names = RootNames(root.lineage_id, root.tenant, root.vm_id, root.point_id, root.key_epoch, recipient)
    return with_descriptor(ROOT, to_canonical(names))


def data_key_binding(front: bytes) -> bytes:
    """HPKE info of the sealed data key: everything before it."""
    return _INFO_DOMAIN + front


def assemble_root(root: Root, front: bytes, sealed_key: bytes, data_key: bytes, nonce: bytes) -> bytes:
    """The deterministic rest of `seal_root`; golden vectors call it with fixed keys and nonce."""
    return front + sealed_key + seal_box(data_key, nonce, encode_root(root), front + sealed_key)


def root_names(root_object: bytes) -> RootNames:
    """What the root object says of itself, not yet proven. Raises IntegrityError, FormatUnsupported."""
    descriptor, _ = read_descriptor(root_object, ROOT, "root object")
    return from_canonical(RootNames, descriptor, "root object's names")


def unseal_data_key(root_object: bytes, repository_secret_key: bytes) -> bytes:
    """The data key of a root: what a PointGrant carries. Raises WrongKey, IntegrityError."""
    names = root_names(root_object)
    if names.recipient != recipient_id(public_key_of(repository_secret_key)):
        raise WrongKey(f"the root of point {names.point_id} is sealed to another repository key")
    start = _front_bytes(root_object)
    sealed_key = root_object[start : start + _SEALED_KEY_BYTES]
    what = f"root of point {names.point_id}"
    return open_sealed(repository_secret_key, sealed_key, data_key_binding(root_object[:start]), what)


def open_root(root_object: bytes, data_key: bytes) -> Root:
    """Raises IntegrityError when the key, the header's names and the body's names do not agree."""
    names = root_names(root_object)
    what = f"root of point {names.point_id}"
    box_start = _front_bytes(root_object) + _SEALED_KEY_BYTES
    root = decode_root(open_box(data_key, root_object[box_start:], root_object[:box_start], what))
    inside = RootNames(root.lineage_id, root.tenant, root.vm_id, root.point_id, root.key_epoch, names.recipient)
    if inside != names:
        raise IntegrityError(f"{what}: its body names another lineage, tenant, VM, point or epoch than its front")
    return root


def sign_manifest(statement: Statement, root_object: bytes, signing_secret_key: bytes) -> bytes:
    """The `m/` object. Raises ValueError when the statement is not about this root object."""
    try:
        _check_statement(statement, root_object)
    except IntegrityError as error:
        raise ValueError(str(error)) from error
    front = with_descriptor(MANIFEST, to_canonical(statement))
    return front + sign(signing_secret_key, MANIFEST_DOMAIN, front) + root_object


def open_manifest(body: bytes, signing_public_key: bytes) -> tuple[Statement, bytes]:
    """(statement, root object) of an `m/` object, signature and root hash checked. Raises IntegrityError, FormatUnsupported.

    A version is believed to be newer only where it was not altered (`altered`).
    """
    return told_apart(lambda read: _proven_manifest(read, signing_public_key), body, "manifest")


def _proven_manifest(body: bytes, signing_public_key: bytes) -> tuple[Statement, bytes]:
    descriptor, start = read_descriptor(body, MANIFEST, "manifest")
    root_start = start + SIGNATURE_BYTES
    verify(signing_public_key, MANIFEST_DOMAIN, body[:start], body[start:root_start], "manifest")
    statement = from_canonical(Statement, descriptor, "manifest's statement")
    root_object = body[root_start:]
    _check_statement(statement, root_object)
    return statement, root_object


def manifest_root(body: bytes, trusted_hash: bytes) -> bytes:
    """The root object of an `m/` object that somebody trusted named by its hash; for readers without the signing key.

    Raises IntegrityError when these are not the bytes that were named, FormatUnsupported.
    """
    if object_hash(body) != trusted_hash:
        raise IntegrityError("manifest: not the one that was committed")
    _, start = read_descriptor(body, MANIFEST, "manifest")
    return body[start + SIGNATURE_BYTES :]


def _check_statement(statement: Statement, root_object: bytes) -> None:
    if object_hash(root_object) != statement.root_hash:
        raise IntegrityError(f"manifest of point {statement.point_id}: its root is not the one that was signed")
    names = root_names(root_object)
    said = (statement.lineage_id, statement.tenant, statement.vm_id, statement.point_id, statement.key_epoch)
    if said != (names.lineage_id, names.tenant, names.vm_id, names.point_id, names.key_epoch):
        raise IntegrityError(f"manifest of point {statement.point_id}: statement and root name different things")


def _front_bytes(root_object: bytes) -> int:
    return read_descriptor(root_object, ROOT, "root object")[1]
