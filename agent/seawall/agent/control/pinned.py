"""Finding the controller's root certificate by its hash: the first contact of a host that trusts nobody yet. Used by join."""

import socket
import ssl
from hashlib import sha256
from typing import Protocol, cast

from seawall.agent.control.errors import ControllerSilent, NotTrusted

CONTACT_SECONDS = 15.0


class _Certificate(Protocol):
    def public_bytes(self) -> str:
        """PEM."""


class _Chained(Protocol):
    def get_unverified_chain(self) -> list[_Certificate] | list[bytes] | None: ...


def fetch_root(address: str, ca_sha256: bytes) -> bytes:
    """The PEM of the certificate in the server's chain whose DER has this SHA-256. Nothing else that the server says is believed.

    Raises ControllerSilent (no TLS server there), NotTrusted (none of its certificates has that hash).
    """
    for der in _presented_chain(address):
        if sha256(der).digest() == ca_sha256:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise NotTrusted(f"the server at {address} does not present the root certificate that the token pins")


def _presented_chain(address: str) -> list[bytes]:
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the hash decides, then gRPC verifies everything against that root
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONTACT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as tls,
        ):
            return _chain(tls)
    except OSError as error:
        raise ControllerSilent(
            f"no controller answers at {address}: {error}", next_step="Check the address."
        ) from error


def _chain(tls: ssl.SSLSocket) -> list[bytes]:
    """DER, leaf first. Python 3.13 has it on the socket; before, only the object below it has."""
    source = tls if hasattr(tls, "get_unverified_chain") else tls._sslobj  # type: ignore[attr-defined]
    chain = cast(_Chained, source).get_unverified_chain() or []
    return [item if isinstance(item, bytes) else ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain]
