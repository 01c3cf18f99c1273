"""The controller's server certificate: sealed in one file, made anew when it nears its end, and when its names or the authority change."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509

from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.certificates.names import SERVER_RENEW_BEFORE, canonical_name
from seawall.controller.errors import DataLoss
from seawall.controller.files import write_file
from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.clock import Clock, datetime_of, microseconds_of

CONTEXT = "server"
_LEAST_US = 3600 * 1_000_000
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a handshake needs, PEM."""

    key_pem: Secret
    chain_pem: bytes
    """Server certificate first, then the issuing one, the root, and what former roots say of it."""
    client_roots_pem: bytes
    """Who signs agents' certificates."""


class ServerCertificate:
    """Thread-safe; `current` is asked at each handshake."""

    def __init__(
        self, path: Path, authority: CertificateAuthority, box: SecretBox, names: Iterable[str], clock: Clock
    ) -> None:
        """Reads or makes the certificate. Raises OSError, DataLoss/WRONG_KEK."""
        self._path = path
        self._authority = authority
        self._box = box
        self._names = tuple(sorted({canonical_name(name) for name in names}))
        self._clock = clock
        self._lock = threading.Lock()
        self._of = authority.state
        self._files = self._read() or self._made()
        self._renew_us = self._renew_next(self._files)

    def current(self) -> TlsFiles:
        """The certificate to show now. When it cannot be renewed the old one goes on: its end is still weeks away."""
        with self._lock:
            state = self._authority.state
            due = self._clock.now_us() >= self._renew_us
            if due or state is not self._of:
                try:
                    self._files = self._made() if due else self._read() or self._made()
                    self._renew_us = self._renew_next(self._files)
                    self._of = state
                except OSError:
                    _log.exception("server_certificate.not_renewed", path=str(self._path))
            return self._files

    def _read(self) -> TlsFiles | None:
        """What the file holds, if it still serves."""
        try:
            bundle = self._box.open(self._path.read_bytes(), CONTEXT).reveal()
        except FileNotFoundError:
            return None
        except DataLoss as error:
            if error.reason == "WRONG_KEK":
                raise
            _log.warning("server_certificate.damaged", path=str(self._path))
            return None
        start = bundle.index(_CERTIFICATE)
        files = TlsFiles(Secret(bundle[:start]), bundle[start:], self._authority.client_roots_pem)
        return files if self._serves(files) else None

    def _serves(self, files: TlsFiles) -> bool:
        leaf = x509.load_pem_x509_certificate(files.chain_pem)
        fresh = self._clock.now_us() < _renew_at(files)
        return fresh and names_of(leaf) == self._names and files.chain_pem.endswith(self._authority.server_tail_pem)

    def _made(self) -> TlsFiles:
        key = new_key()
        issued = self._authority.issue_server(self._names, key.public_key())
        secret = key_pem(key)
        write_file(self._path, self._box.seal(Secret(secret.reveal() + issued.chain_pem), CONTEXT), 0o600)
        _log.info("server_certificate.made", names=self._names, expires=datetime_of(issued.expires_us).isoformat())
        return TlsFiles(secret, issued.chain_pem, self._authority.client_roots_pem)

    def _renew_next(self, files: TlsFiles) -> int:
        """An hour from now at least: past the authority's own end each new one is old at once."""
        return max(_renew_at(files), self._clock.now_us() + _LEAST_US)


def _renew_at(files: TlsFiles) -> int:
    leaf = x509.load_pem_x509_certificate(files.chain_pem)
    return microseconds_of(leaf.not_valid_after_utc - SERVER_RENEW_BEFORE)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names and IP addresses, sorted."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return tuple(sorted([*names.get_values_for_type(x509.DNSName), *addresses]))
