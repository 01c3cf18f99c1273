"""Who this agent is: key, certificate, CA and the controller's address, kept in one file so that they can never disagree."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from seawall.agent.control.errors import NotEnrolled
from seawall.repository.store.files import sync_folder

FILE_NAME = "identity.json"
PENDING_KEY = "renewal-key.pem"
"""In the state directory while a new certificate is asked for; after a lost answer it is the one that the controller knows."""
JOIN_ANEW = "Make a token with `seawall host token` and run `seawall agent join --force TOKEN` on this host."


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled agent. PEM texts; the certificate may carry its chain."""

    agent_id: str  # UUID; also the host's id
    address: str  # host:port of the controller's mTLS port; of several controllers, with commas
    certificate_pem: str
    private_key_pem: str = field(repr=False)
    ca_bundle_pem: str
    host_name: str = ""  # the name that was given when it joined; empty: the machine's own
    enrol_address: str = (
        ""  # host:port where it joined, several with commas; where it recovers. Empty: it joined before that was kept
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of each controller."""
        return tuple(self.address.split(","))

    @property
    def enrol_addresses(self) -> tuple[str, ...]:
        """host:port of each controller's operator port."""
        return tuple(self.enrol_address.split(",")) if self.enrol_address else ()

    @property
    def trusted_sha256(self) -> tuple[bytes, ...]:
        """Of the DER of each root that is trusted."""
        roots = x509.load_pem_x509_certificates(self.ca_bundle_pem.encode())
        return tuple(each.fingerprint(SHA256()) for each in roots)

    def lifetime(self) -> tuple[datetime, datetime]:
        """(valid from, valid until) of the certificate."""
        certificate = x509.load_pem_x509_certificate(self.certificate_pem.encode())
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def expired(self, now_us: int) -> bool:
        return self.lifetime()[1] <= datetime.fromtimestamp(now_us / 1_000_000, tz=UTC)

    def not_yet_valid(self, now_us: int) -> bool:
        """Also how a clock that is days late shows itself."""
        return self.lifetime()[0] > datetime.fromtimestamp(now_us / 1_000_000, tz=UTC)


def load_identity(state_dir: Path) -> Identity:
    """Raises NotEnrolled: none there, or not usable."""
    path = state_dir / FILE_NAME
    try:
        return _usable(_of(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError as error:
        raise NotEnrolled(f"this host is not enrolled: no {path}") from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotEnrolled(
            f"the identity in {path} cannot be read: {str(error).partition('. See http')[0]}", next_step=JOIN_ANEW
        ) from error


def _of(values: object) -> Identity:
    """Raises ValueError naming what is not as it should be."""
    if not isinstance(values, dict):
        raise ValueError("it is no identity of an agent")
    wrong = ({each.name for each in fields(Identity)} ^ set(values)) - {"host_name", "enrol_address"}
    if wrong:
        raise ValueError(f"missing or unknown: {', '.join(sorted(wrong))}")
    return Identity(**values)


def _usable(identity: Identity) -> Identity:
    """Raises ValueError, TypeError, UnsupportedAlgorithm: what gRPC would only meet at each call, with words for its own authors."""
    for name, value in asdict(identity).items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is not text")
    for address in (*identity.addresses, *identity.enrol_addresses):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"its address {address!r} is not host:port")
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem.encode())
    x509.load_pem_x509_certificates(identity.ca_bundle_pem.encode())
    key = serialization.load_pem_private_key(identity.private_key_pem.encode(), password=None)
    if key.public_key() != certificate.public_key():
        raise ValueError("its key and its certificate do not belong together")
    return identity


def save_identity(state_dir: Path, identity: Identity) -> None:
    """Durable and atomic: a crash leaves the old identity or the new one, whole."""
    write_private(state_dir / FILE_NAME, json.dumps(asdict(identity), indent=1).encode())


def write_private(path: Path, body: bytes) -> None:
    """Write a file of mode 0600 so that it is there whole or not at all: temporary file, fsync, rename, fsync of the directory."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def new_private_key() -> str:
    """A P-256 key as PKCS#8 PEM. It never leaves the host."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def kept_key(path: Path) -> str:
    """The key of an exchange that was cut short, or a new one, kept until its answer is written: the controller may have bound it already.

    A file that holds no key (a full disk, another's hand) is replaced.
    """
    if not path.exists() or not _is_key(path):
        write_private(path, new_private_key().encode())
    return path.read_text(encoding="ascii")


def _is_key(path: Path) -> bool:
    try:
        signing_request(path.read_text(encoding="ascii"))
    except (ValueError, TypeError, NotEnrolled):
        return False
    return True


def signing_request(private_key_pem: str) -> bytes:
    """A PKCS#10 request in DER that proves the key. Its subject is a placeholder: the controller names the agent."""
    key = serialization.load_pem_private_key(private_key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NotEnrolled("the private key of this host is not an elliptic-curve key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seawall agent")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(serialization.Encoding.DER)
