"""Credentials of stores at rest: sealed in the secrets table, bound to the repository that they are of."""

import json

from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.store.location import S3Credentials


def seal_credentials(box: SecretBox, repository_id: str, credentials: S3Credentials) -> bytes:
    plain = json.dumps({"access_key": credentials.access_key, "secret_key": credentials.secret_key})
    return box.seal(Secret(plain.encode()), _context(repository_id))


def open_credentials(box: SecretBox, repository_id: str, sealed: bytes) -> S3Credentials:
    """Raises DataLoss/WRONG_KEK, SECRET_DAMAGED."""
    plain = json.loads(box.open(sealed, _context(repository_id)).reveal())
    return S3Credentials(plain["access_key"], plain["secret_key"])


def _context(repository_id: str) -> str:
    return f"repository/{repository_id}/s3"
