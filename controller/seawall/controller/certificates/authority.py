"""The certificate authority: a root that signs one issuing key, and that key, which signs servers and agents. P-256 throughout.

The root's key is used when the authority is made, and never again until the issuing key is replaced; both lie sealed under the KEK.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from seawall.controller.certificates import names
from seawall.controller.config import StatePaths
from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.clock import Clock, datetime_of

ROOT_CONTEXT = "ca/root"
ISSUING_CONTEXT = "ca/issuing"
_UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What flipped bits of a certificate come to, by where they are."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    chain_pem: bytes
    """The certificate first, then the issuing one."""
    expires_us: int


class CertificateAuthority:
    """Thread-safe."""

    def __init__(
        self,
        cluster_id: str,
        root: x509.Certificate,
        issuing: x509.Certificate,
        issuing_key: ec.EllipticCurvePrivateKey,
        clock: Clock,
    ) -> None:
        self._cluster_id = cluster_id
        self._root = root
        self._issuing = issuing
        self._issuing_key = issuing_key
        self._clock = clock

    @classmethod
    def load(cls, paths: StatePaths, box: SecretBox, clock: Clock) -> "CertificateAuthority":
        """Raises FailedPrecondition/NOT_INITIALISED, DataLoss (a file is damaged, or of another controller)."""
        try:
            root = x509.load_pem_x509_certificate(paths.root_certificate.read_bytes())
            issuing = x509.load_pem_x509_certificate(paths.issuing_certificate.read_bytes())
            sealed = paths.issuing_key.read_bytes()
            cluster_id = paths.cluster_id.read_text(encoding="ascii").strip()
            _check_chain(root, issuing, cluster_id)
        except FileNotFoundError as error:
            raise FailedPrecondition(
                "NOT_INITIALISED", f"{error.filename} does not exist; run `seawall controller init` first."
            ) from error
        except _UNREADABLE as error:
            raise DataLoss(
                "CA_DAMAGED",
                f"The certificates in {paths.root_certificate.parent} and {paths.cluster_id} are damaged, or not of one controller; "
                "restore them from your backup of the state directory.",
            ) from error
        key = load_key(box.open(sealed, ISSUING_CONTEXT))
        if key.public_key() != issuing.public_key():
            raise DataLoss("CA_DAMAGED", f"{paths.issuing_key} is not the key of {paths.issuing_certificate}.")
        return cls(cluster_id, root, issuing, key, clock)

    @property
    def cluster_id(self) -> str:
        return self._cluster_id

    @property
    def bundle_pem(self) -> bytes:
        """What agents and operators trust: the root."""
        return self._root.public_bytes(Encoding.PEM)

    @property
    def client_roots_pem(self) -> bytes:
        """What the agent port checks clients against: also the issuing certificate, for clients that send their own alone."""
        return self.bundle_pem + self._issuing.public_bytes(Encoding.PEM)

    @property
    def root_sha256(self) -> bytes:
        """Of the root's DER; the last part of join tokens."""
        return hashlib.sha256(self._root.public_bytes(Encoding.DER)).digest()

    def issue_agent(self, agent_id: str, key: ec.EllipticCurvePublicKey, life_seconds: float) -> IssuedCertificate:
        """A client certificate, SAN URI:seawall://<cluster>/agent/<agent_id>."""
        name = names.agent_name(self._cluster_id, agent_id)
        begin, life = datetime_of(self._clock.now_us()) - names.BACKDATE, timedelta(seconds=life_seconds)
        return self._issue(f"agent {agent_id}", name, names.for_clients(), key, begin, life)

    def issue_server(self, server_names: tuple[str, ...], key: ec.EllipticCurvePublicKey) -> IssuedCertificate:
        """A server certificate. Its chain ends in the root, so that a host that enrols can find there what its token names.

        It begins with the authority: made while this clock stood wrong, it serves all the same once the clock is set right.
        """
        begin, alternative = self._issuing.not_valid_before_utc, names.server_names(server_names)
        issued = self._issue("controller", alternative, names.for_servers(), key, begin, names.SERVER_LIFE)
        return IssuedCertificate(issued.chain_pem + self.bundle_pem, issued.expires_us)

    def _issue(
        self,
        common_name: str,
        alternative: x509.SubjectAlternativeName,
        use: x509.ExtendedKeyUsage,
        key: ec.EllipticCurvePublicKey,
        begin: datetime,
        life: timedelta,
    ) -> IssuedCertificate:
        # Whole seconds, as the certificate has them; never beyond the authority's own end.
        latest = max(datetime_of(self._clock.now_us()), begin) + life
        end = min(latest, self._issuing.not_valid_after_utc).replace(microsecond=0)
        builder = _builder(names.subject(common_name), self._issuing.subject, key, begin).not_valid_after(end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(names.end_use(), critical=True).add_extension(use, critical=False)
        builder = builder.add_extension(alternative, critical=False)
        issuer = self._issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
        certificate = builder.sign(self._issuing_key, hashes.SHA256())
        chain = certificate.public_bytes(Encoding.PEM) + self._issuing.public_bytes(Encoding.PEM)
        return IssuedCertificate(chain, int(end.timestamp()) * 1_000_000)


def _check_chain(root: x509.Certificate, issuing: x509.Certificate, cluster_id: str) -> None:
    """Raises what _UNREADABLE names. Certificates are parsed lazily: all that is used is looked at."""
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    constraint = issuing.extensions.get_extension_for_class(x509.NameConstraints).value
    if constraint != names.agents_of_this_cluster_only(cluster_id):
        raise ValueError(f"{cluster_id!r} is not the cluster of the issuing certificate")


def make_root(key: ec.EllipticCurvePrivateKey, cluster_id: str, now_us: int) -> bytes:
    """A self-signed root, PEM."""
    name = names.subject(f"root {cluster_id}")
    begin = datetime_of(now_us) - names.BACKDATE
    builder = _authority(_builder(name, name, key.public_key(), begin), names.ROOT_LIFE, now_us, path_length=1)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def make_issuing(
    key: ec.EllipticCurvePublicKey, cluster_id: str, root_pem: bytes, root_key: ec.EllipticCurvePrivateKey, now_us: int
) -> bytes:
    """The issuing certificate, PEM, limited to agents of this cluster."""
    root = x509.load_pem_x509_certificate(root_pem)
    begin = datetime_of(now_us) - names.BACKDATE
    builder = _builder(names.subject(f"issuing {cluster_id}"), root.subject, key, begin)
    builder = _authority(builder, names.ISSUING_LIFE, now_us, path_length=0)
    builder = builder.add_extension(names.agents_of_this_cluster_only(cluster_id), critical=True)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    return builder.add_extension(issuer, critical=False).sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def load_key(pem: Secret) -> ec.EllipticCurvePrivateKey:
    """Raises DataLoss/SECRET_DAMAGED."""
    try:
        key = load_pem_private_key(pem.reveal(), None)
    except ValueError as error:
        raise DataLoss("SECRET_DAMAGED", f"A sealed key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataLoss("SECRET_DAMAGED", "A sealed key is of another kind than this controller makes.")
    return key


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
    return builder.add_extension(names.key_identifier(key), critical=False)


def _authority(
    builder: x509.CertificateBuilder, life: timedelta, now_us: int, *, path_length: int
) -> x509.CertificateBuilder:
    builder = builder.not_valid_after(datetime_of(now_us) + life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(names.authority_use(), critical=True)
