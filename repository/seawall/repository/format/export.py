"""Exports `v1/c/export/<epoch>-<number>`: what a controller knows that no other object says, sealed for its successor.

header | length u32 | front (canonical JSON) | sealed box (AES-256-GCM) of one zstd frame; associated data = all before the box

The key is derived from the repository's secret key and the salt in the front, so that it seals one box alone. What the frame holds is the
controller's own document; a repository without exports is whole.
"""

import secrets
from dataclasses import dataclass

from blake3 import blake3

from seawall.repository.crypto.aead import new_nonce, open_box, seal_box
from seawall.repository.errors import IntegrityError
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.compression import decompressed, frames_of
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.header import EXPORT
from seawall.repository.format.record import LINEAGE_ID_BYTES

WHAT = "export"
SALT_BYTES = 32
LONGEST_DOCUMENT_BYTES = 256 * 1024 * 1024
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class ExportFront:
    """In clear. `epoch`, `number`: as in its name. `document_bytes`: of the document, not compressed."""

    lineage_id: bytes
    epoch: int
    number: int
    exported_us: int
    document_bytes: int
    salt: bytes


def seal_export(
    document: bytes, *, lineage_id: bytes, epoch: int, number: int, exported_us: int, repository_secret_key: bytes
) -> bytes:
    """The object. Raises ValueError on what cannot be read back: nothing, too much, or a lineage of another length."""
    if not 0 < len(document) <= LONGEST_DOCUMENT_BYTES or len(lineage_id) != LINEAGE_ID_BYTES:
        raise ValueError(f"an export holds 1 to {LONGEST_DOCUMENT_BYTES} bytes of one lineage")
    front = ExportFront(lineage_id, epoch, number, exported_us, len(document), secrets.token_bytes(SALT_BYTES))
    return assemble_export(front, document, repository_secret_key, new_nonce())


def assemble_export(front: ExportFront, document: bytes, repository_secret_key: bytes, nonce: bytes) -> bytes:
    """`seal_export` where the random parts are given."""
    clear = with_descriptor(EXPORT, to_canonical(front))
    (frame,) = frames_of([document], _LEVEL)
    return clear + seal_box(_key(repository_secret_key, front.salt), nonce, bytes(frame), clear)


def open_export(body: bytes, repository_secret_key: bytes) -> tuple[ExportFront, bytes]:
    """(front, document), both proven to be a controller's of this repository. Raises IntegrityError, FormatUnsupported."""
    return told_apart(lambda read: _proven_export(read, repository_secret_key), body, WHAT)


def _proven_export(body: bytes, repository_secret_key: bytes) -> tuple[ExportFront, bytes]:
    descriptor, end = read_descriptor(body, EXPORT, WHAT)
    front = from_canonical(ExportFront, descriptor, f"{WHAT}'s front")
    if not 0 < front.document_bytes <= LONGEST_DOCUMENT_BYTES or len(front.salt) != SALT_BYTES:
        raise IntegrityError(f"{WHAT}: its front claims what no export has")
    frame = open_box(_key(repository_secret_key, front.salt), body[end:], body[:end], WHAT)
    return front, decompressed(frame, front.document_bytes, WHAT)


def _key(repository_secret_key: bytes, salt: bytes) -> bytes:
    return blake3(repository_secret_key + salt, derive_key_context="seawall v1 export key").digest()
