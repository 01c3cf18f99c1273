"""One generation of the certificate authority: a root, the issuing key that it signed, both keys sealed. A rotation makes the next."""

from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from seawall.controller.certificates import names
from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.clock import datetime_of

ROOT_CONTEXT = "ca/root"
ISSUING_CONTEXT = "ca/issuing"


@dataclass(frozen=True, slots=True)
class Generation:
    """P-256 throughout. Certificates in PEM; keys in PEM, sealed under the KEK, in base64."""

    number: int
    """1, 2, ... of the cluster."""
    root_pem: str
    issuing_pem: str
    issuing_key: str
    root_key: str = ""
    """"": it is kept elsewhere. Needed to replace the issuing key, and to tell of the generation that follows."""

    @property
    def root_id(self) -> str:
        """SHA-256 of the root's DER, hexadecimal."""
        return root_id_of(self.root_pem)

    def without_keys(self) -> "Generation":
        return replace(self, issuing_key="", root_key="")


@lru_cache(maxsize=64)
def root_id_of(root_pem: str) -> str:
    return sha256(x509.load_pem_x509_certificate(root_pem.encode()).public_bytes(Encoding.DER)).hexdigest()


def new_generation(number: int, cluster_id: str, box: SecretBox, now_us: int) -> Generation:
    """With new keys."""
    root_key, issuing_key = new_key(), new_key()
    root_pem = make_root(root_key, cluster_id, now_us, number)
    issuing_pem = make_issuing(issuing_key.public_key(), cluster_id, root_pem, root_key, now_us)
    return Generation(
        number,
        root_pem.decode(),
        issuing_pem.decode(),
        _sealed(box, issuing_key, ISSUING_CONTEXT),
        _sealed(box, root_key, ROOT_CONTEXT),
    )


def link(old: Generation, new: Generation, box: SecretBox) -> str:
    """What the old root says of the new one: a certificate of the new root's key and name, signed by the old root's key. PEM.

    Whoever trusts the old root and was away during the rotation follows it to the new one. It ends with the old root.
    Raises FailedPrecondition/ROOT_KEY_MISSING.
    """
    if not old.root_key:
        raise FailedPrecondition(
            "ROOT_KEY_MISSING",
            "The key of the root (ca/root.key.sealed in the state directory) is not here, and hosts learn of a new root by its word. "
            "Put it back and restart the controller for the time of the rotation.",
        )
    key = load_key(box.open(b64decode(old.root_key), ROOT_CONTEXT))
    signer, subject = (x509.load_pem_x509_certificate(each.root_pem.encode()) for each in (old, new))
    public = subject.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise DataLoss("CA_DAMAGED", "The new root is of another kind than this controller makes.")
    builder = _builder(subject.subject, signer.subject, public).not_valid_before(subject.not_valid_before_utc)
    builder = _authority(builder.not_valid_after(signer.not_valid_after_utc), path_length=1)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def check_generation(generation: Generation, cluster_id: str) -> None:
    """Raises what `authority._UNREADABLE` names. Certificates are parsed lazily: all that is used is looked at."""
    root = x509.load_pem_x509_certificate(generation.root_pem.encode())
    issuing = x509.load_pem_x509_certificate(generation.issuing_pem.encode())
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    constraint = issuing.extensions.get_extension_for_class(x509.NameConstraints).value
    if constraint != names.agents_of_this_cluster_only(cluster_id):
        raise ValueError(f"{cluster_id!r} is not the cluster of the issuing certificate")


def issuing_key_of(generation: Generation, box: SecretBox) -> ec.EllipticCurvePrivateKey:
    """Raises DataLoss/WRONG_KEK, SECRET_DAMAGED, CA_DAMAGED."""
    key = load_key(box.open(b64decode(generation.issuing_key), ISSUING_CONTEXT))
    if key.public_key() != x509.load_pem_x509_certificate(generation.issuing_pem.encode()).public_key():
        raise DataLoss("CA_DAMAGED", "The issuing key of the certificate authority does not belong to its certificate.")
    return key


def make_root(key: ec.EllipticCurvePrivateKey, cluster_id: str, now_us: int, number: int = 1) -> bytes:
    """A self-signed root, PEM. Each generation's has a name of its own, so that chains are never built over the wrong one."""
    name = names.subject(f"root {cluster_id}" if number == 1 else f"root {cluster_id} {number}")
    builder = _builder(name, name, key.public_key()).not_valid_before(
        names.beginning(datetime_of(now_us), names.ROOT_LIFE)
    )
    builder = _authority(_until(builder, now_us, names.ROOT_LIFE), path_length=1)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def make_issuing(
    key: ec.EllipticCurvePublicKey, cluster_id: str, root_pem: bytes, root_key: ec.EllipticCurvePrivateKey, now_us: int
) -> bytes:
    """The issuing certificate, PEM, limited to agents of this cluster."""
    root = x509.load_pem_x509_certificate(root_pem)
    builder = _builder(names.subject(f"issuing {cluster_id}"), root.subject, key)
    builder = builder.not_valid_before(names.beginning(datetime_of(now_us), names.ISSUING_LIFE))
    builder = _authority(_until(builder, now_us, names.ISSUING_LIFE), path_length=0)
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


def _sealed(box: SecretBox, key: ec.EllipticCurvePrivateKey, context: str) -> str:
    return b64encode(box.seal(key_pem(key), context)).decode()


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.add_extension(names.key_identifier(key), critical=False)


def _until(builder: x509.CertificateBuilder, now_us: int, life: timedelta) -> x509.CertificateBuilder:
    return builder.not_valid_after(datetime_of(now_us) + life)


def _authority(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(names.authority_use(), critical=True)
