"""Objects as a newer Seawall writes them: version 2 in the header, and signed, hashed or sealed with it. Made from our own."""

from blake3 import blake3

from seawall.repository.crypto.aead import new_nonce, open_box, seal_box
from seawall.repository.crypto.sealing import open_sealed, public_key_of, seal_to
from seawall.repository.crypto.signing import MANIFEST_DOMAIN, SIGNATURE_BYTES, sign
from seawall.repository.format.canonical import from_canonical
from seawall.repository.format.descriptor import read_descriptor
from seawall.repository.format.export import ExportFront
from seawall.repository.format.header import EXPORT, KEYS, MANIFEST


def version_2(body: bytes) -> bytes:
    """Says so and proves nothing: an altered byte looks the same."""
    return body[:8] + b"\x02" + body[9:]


def newer_manifest(body: bytes, signing_secret_key: bytes) -> bytes:
    _, end = read_descriptor(body, MANIFEST, "manifest")
    front = version_2(body[:end])
    return front + sign(signing_secret_key, MANIFEST_DOMAIN, front) + body[end + SIGNATURE_BYTES :]


def newer_signed(body: bytes, domain: bytes, signing_secret_key: bytes) -> bytes:
    """Config, tombstone, condemn log: the signature is their end."""
    front = version_2(body[:-SIGNATURE_BYTES])
    return front + sign(signing_secret_key, domain, front)


def newer_refmap(body: bytes) -> bytes:
    content = version_2(body[:-32])
    return content + blake3(content).digest()


def newer_key_object(body: bytes, recipient_secret_key: bytes) -> bytes:
    _, end = read_descriptor(body, KEYS, "key object")
    domain = b"seawall v1 key bundle\x00"
    bundle = open_sealed(recipient_secret_key, body[end:], domain + body[:end], "key object")
    front = version_2(body[:end])
    return front + seal_to(public_key_of(recipient_secret_key), bundle, domain + front)


def newer_export(body: bytes, repository_secret_key: bytes) -> bytes:
    descriptor, end = read_descriptor(body, EXPORT, "export")
    salt = from_canonical(ExportFront, descriptor, "export's front").salt
    key = blake3(repository_secret_key + salt, derive_key_context="seawall v1 export key").digest()
    front = version_2(body[:end])
    return front + seal_box(key, new_nonce(), open_box(key, body[end:], body[:end], "export"), front)
