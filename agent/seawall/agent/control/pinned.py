"""Finding the controller's root certificate by its hash: the first contact of a host that trusts nobody yet. Used by join."""

import socket
import ssl
from hashlib import sha256
from typing import Protocol, cast

from cryptography import x509

from seawall.agent.control.errors import ClockWrong, ControllerSilent, NotTrusted
from seawall.repository.clock import datetime_of

CONTACT_SECONDS = 15.0
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")


class _Certificate(Protocol):
    def public_bytes(self) -> str:
        """PEM."""


class _Chained(Protocol):
    def get_unverified_chain(self) -> list[_Certificate] | list[bytes] | None: ...


def fetch_root(address: str, ca_sha256: bytes, now_us: int) -> bytes:
    """The PEM of the certificate in the server's chain whose DER has this SHA-256. Nothing else that the server says is believed.

    Raises ControllerSilent (no TLS server there), NotTrusted (none of its certificates has that hash, or it speaks no TLS),
    ClockWrong (the handshakes to come would fail, and not say why).
    """
    chain = presented_chain(address)
    for der in chain:
        if sha256(der).digest() == ca_sha256:
            _check_clock(chain[0], now_us)
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise NotTrusted(f"the server at {address} does not present the root certificate that the token pins")


def _check_clock(leaf_der: bytes, now_us: int) -> None:
    """The server's own certificate has the shortest life of its chain."""
    try:
        leaf = x509.load_der_x509_certificate(leaf_der)
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    except ValueError as error:
        raise NotTrusted("the server presents a certificate that cannot be read") from error
    now = datetime_of(now_us)
    if not begin <= now < end:
        raise ClockWrong(
            f"this host's clock says {now:%Y-%m-%d %H:%M} UTC, but the controller's certificate is valid from "
            f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        )


def presented_chain(address: str) -> list[bytes]:
    """What the server at host:port shows, DER, its own certificate first; believed in nothing. Raises ControllerSilent, NotTrusted."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Who asks decides what to believe of it; then gRPC verifies everything against that root.
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONTACT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as tls,
        ):
            return _chain(tls)
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            raise NotTrusted(f"what answers at {address} speaks no TLS: it is no controller") from error
        raise ControllerSilent(f"the TLS handshake with {address} broke off: {error}") from error
    except OSError as error:
        raise ControllerSilent(
            f"no controller answers at {address}: {error}", next_step="Check the address."
        ) from error


def _chain(tls: ssl.SSLSocket) -> list[bytes]:
    """DER, leaf first. Python 3.13 has it on the socket; before, only the object below it has."""
    source = tls if hasattr(tls, "get_unverified_chain") else tls._sslobj  # type: ignore[attr-defined]
    chain = cast(_Chained, source).get_unverified_chain() or []
    return [item if isinstance(item, bytes) else ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain]
