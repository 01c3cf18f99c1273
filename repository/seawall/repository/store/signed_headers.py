"""What a signed PUT says of its body: the headers that every adapter signs, and that whoever uses the URL must send."""

import hashlib
from base64 import b64encode

from seawall.repository.errors import StoreRefused
from seawall.repository.store.names import check_length

MD5_BYTES = 16
ANY_CONTENT = b""
"""In place of an MD5: the body is bound by its length alone. For what is named by its hash and travels over TLS (DESIGN.md, "MD5")."""


def put_headers(length: int, md5: bytes) -> dict[str, str]:
    """Raises StoreRefused for a negative length, and for an MD5 that is none."""
    if len(md5) not in (0, MD5_BYTES):
        raise StoreRefused(f"an MD5 has {MD5_BYTES} bytes, not {len(md5)}")
    headers = {"Content-Length": str(check_length(length)), "If-None-Match": "*"}
    if md5:
        headers["Content-MD5"] = b64encode(md5).decode()
    return headers


def md5_of(body: bytes | bytearray | memoryview) -> bytes:
    """For Content-MD5, nothing else."""
    return hashlib.md5(body, usedforsecurity=False).digest()
