"""The two outer shells of a root: what an agent hands in, and the signed `m/` object that the controller makes of it.

root object = header | HPKE-sealed data key | nonce | AES-GCM(encode_root); HPKE info and AAD = lineage, tenant, VM, point, epoch
m/ object   = header | statement (canonical JSON) | Ed25519 signature | root object, verbatim
"""

from dataclasses import dataclass

from seawall.repository.format.manifest import Root


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


def seal_root(root: Root, repository_public_key: bytes) -> bytes:
    raise NotImplementedError


def unseal_data_key(root_object: bytes, repository_secret_key: bytes) -> bytes:
    """The data key of a root: what a PointGrant carries. Raises WrongKey, IntegrityError."""
    raise NotImplementedError


def open_root(root_object: bytes, data_key: bytes) -> Root:
    """Raises IntegrityError when the key, the header's names and the body's names do not agree."""
    raise NotImplementedError


def sign_manifest(statement: Statement, root_object: bytes, signing_secret_key: bytes) -> bytes:
    raise NotImplementedError


def open_manifest(body: bytes, signing_public_key: bytes) -> tuple[Statement, bytes]:
    """(statement, root object) of an `m/` object, signature and root hash checked. Raises IntegrityError."""
    raise NotImplementedError
