"""Following a certificate authority that was replaced meanwhile. For whoever was away: an agent, or an operator's command line.

A controller shows, after its own chain, its root and a link for each root that came before: a certificate of the next root's key and name,
signed by the one before. A link is believed for what it says of a key, by whoever trusts its signer; nothing else that is shown is.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LINK_PATH_LENGTH = 1
"""Of roots and links. Issuing certificates have 0: with a key of theirs nobody makes a link."""
MOST_CERTIFICATES = 32
"""Of a chain that is looked at."""
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What certificates come to that anybody made who answers at a controller's address."""


def successor(trusted_pem: bytes, shown_der: Sequence[bytes], now: datetime) -> bytes | None:
    """The root at the end of the shown chain, PEM, if one that is trusted leads to it, by links or by being it.

    None: it is somebody else's. Raises ValueError when `trusted_pem` holds no certificates.
    """
    shown = [each for each in map(_parsed, shown_der[:MOST_CERTIFICATES]) if each is not None and _vouches(each, now)]
    trusted = x509.load_pem_x509_certificates(trusted_pem)
    while more := [each for each in shown if each not in trusted and any(_signed(each, by) for by in trusted)]:
        trusted += more
    keys = {(each.subject.public_bytes(), _key(each)) for each in trusted}
    for each in shown:
        if each.subject == each.issuer and (each.subject.public_bytes(), _key(each)) in keys and _signed(each, each):
            return each.public_bytes(Encoding.PEM)
    return None


def issued_under(root_pem: bytes, chain_pem: bytes) -> bool:
    """Whether a chain, its own certificate first, leads to this root. Dates are not looked at."""
    try:
        root = x509.load_pem_x509_certificate(root_pem)
        certificates = [*x509.load_pem_x509_certificates(chain_pem), root]
        return all(_signed(each, by) for each, by in pairwise(certificates))
    except (ValueError, UnsupportedAlgorithm):
        return False


def _parsed(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE:
        return None


def _vouches(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it may speak for another authority: it is a root, or a link. Parsed lazily: all that is used is looked at here."""
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        fresh = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
        named = (certificate.subject.public_bytes(), certificate.issuer.public_bytes(), _key(certificate))
    except UNREADABLE:
        return False
    return all(named) and fresh and limits.ca and limits.path_length == LINK_PATH_LENGTH


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
