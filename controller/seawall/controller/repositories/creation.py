"""A creation under way: everything that the objects of a new repository are made from, sealed in the database before the first of them.

A crash between key objects and config leaves something in the bucket that only these values can finish; they live until the repository's
row is written.
"""

import json
from dataclasses import dataclass

from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.crypto.keys import RepositorySecrets


@dataclass(frozen=True, slots=True, repr=False)
class Creation:
    """`recovery_public_key`: the recipient that the operator's recovery sheet opens for. Prints nothing of its secrets."""

    lineage_id: bytes
    chunk_nominal_bytes: int
    recovery_public_key: bytes
    secrets: RepositorySecrets


def seal_creation(box: SecretBox, url: str, creation: Creation) -> bytes:
    secrets = creation.secrets
    plain = {
        "lineage_id": creation.lineage_id.hex(),
        "chunk_nominal_bytes": creation.chunk_nominal_bytes,
        "recovery_public_key": creation.recovery_public_key.hex(),
        "repository_secret_key": secrets.repository_secret_key.hex(),
        "signing_secret_key": secrets.signing_secret_key.hex(),
        "cut_key": secrets.cut_key.hex(),
        "dedup_keys": [[tenant, epoch, key.hex()] for (tenant, epoch), key in sorted(secrets.dedup_keys.items())],
    }
    return box.seal(Secret(json.dumps(plain).encode()), _context(url))


def open_creation(box: SecretBox, url: str, sealed: bytes) -> Creation:
    """Raises DataLoss/WRONG_KEK, SECRET_DAMAGED."""
    plain = json.loads(box.open(sealed, _context(url)).reveal())
    secrets = RepositorySecrets(
        bytes.fromhex(plain["repository_secret_key"]),
        bytes.fromhex(plain["signing_secret_key"]),
        bytes.fromhex(plain["cut_key"]),
        {(tenant, epoch): bytes.fromhex(key) for tenant, epoch, key in plain["dedup_keys"]},
    )
    return Creation(
        bytes.fromhex(plain["lineage_id"]),
        plain["chunk_nominal_bytes"],
        bytes.fromhex(plain["recovery_public_key"]),
        secrets,
    )


def _context(url: str) -> str:
    return f"creation/{url}"
