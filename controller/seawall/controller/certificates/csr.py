"""Certificate requests of agents: only the public key counts, once the request proves that its sender has the secret one."""

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seawall.controller.errors import InvalidArgument

MAX_CSR_BYTES = 16 * 1024


def public_key_of_request(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a PKCS#10 request; its subject and extensions are ignored.

    Raises InvalidArgument/BAD_CSR: not DER, not P-256, not signed by the key that it names.
    """
    if len(csr_der) > MAX_CSR_BYTES:
        raise InvalidArgument("BAD_CSR", f"The certificate request has more than {MAX_CSR_BYTES} bytes.")
    try:
        request = x509.load_der_x509_csr(csr_der)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidArgument("BAD_CSR", f"The certificate request cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgument("BAD_CSR", "The certificate request must be for a key on the curve P-256.")
    if not signed:
        raise InvalidArgument("BAD_CSR", "The certificate request is not signed by the key that it names.")
    return key


def public_key_sha256(key: ec.EllipticCurvePublicKey) -> bytes:
    """Names a key: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
