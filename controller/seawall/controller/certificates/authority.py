"""The certificate authority as the controller uses it: signs servers and agents, says whom to trust. A rotation changes it under way."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from seawall.api.successors import UNREADABLE
from seawall.controller.certificates import names
from seawall.controller.certificates.generation import Generation, check_generation, issuing_key_of
from seawall.controller.certificates.kept_files import load_state, save_state
from seawall.controller.certificates.state import AuthorityState
from seawall.controller.config import StatePaths
from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.secrets import SecretBox
from seawall.repository.clock import Clock, datetime_of, microseconds_of

_UNREADABLE = (*UNREADABLE, KeyError, InvalidSignature)
"""What flipped bits of a certificate, or of the file that holds it, come to, by where they are."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    chain_pem: bytes
    """The certificate first, then the issuing one."""
    expires_us: int


@dataclass(frozen=True, slots=True)
class _Now:
    """All that follows from one state."""

    state: AuthorityState
    issuing: x509.Certificate
    issuing_key: ec.EllipticCurvePrivateKey
    roots_of_issuers: dict[bytes, str]
    """Key identifier of each issuing certificate that is taken -> its root's id."""


class CertificateAuthority:
    """Thread-safe: each call works on the state that it found when it began."""

    def __init__(self, paths: StatePaths, cluster_id: str, state: AuthorityState, box: SecretBox, clock: Clock) -> None:
        """Raises what `load` raises."""
        self._paths = paths
        self._cluster_id = cluster_id
        self._box = box
        self._clock = clock
        self._now = _followed(state, box)
        self._adopting = threading.Lock()

    @classmethod
    def load(cls, paths: StatePaths, box: SecretBox, clock: Clock) -> "CertificateAuthority":
        """Raises FailedPrecondition/NOT_INITIALISED, DataLoss (a file is damaged, or of another controller)."""
        try:
            state = load_state(paths)
            cluster_id = paths.known_cluster_id()
            for each in state.generations:
                check_generation(each, cluster_id)
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
        return cls(paths, cluster_id, state, box, clock)

    def adopt(self, state: AuthorityState) -> None:
        """From now on this one, written down first; one that is older than ours is passed over.

        Raises OSError, DataLoss (it is of another cluster or key): the one before stays.
        """
        with self._adopting:
            if state.version < self._now.state.version:
                return
            try:
                for each in state.generations:
                    check_generation(each, self._cluster_id)
                now = _followed(state, self._box)
            except _UNREADABLE as error:
                raise DataLoss(
                    "CA_DAMAGED", "The database's certificate authority is damaged, or of another controller."
                ) from error
            save_state(self._paths, state)
            self._now = now
        _log.info("authority.adopted", version=state.version, phase=state.phase, root=state.present.root_id)

    @property
    def state(self) -> AuthorityState:
        return self._now.state

    @property
    def cluster_id(self) -> str:
        return self._cluster_id

    @property
    def bundle_pem(self) -> bytes:
        """What agents that enrol or renew trust: each root whose certificates are taken."""
        return self._now.state.bundle_pem.encode()

    @property
    def root_pem(self) -> bytes:
        """The one above what is signed now."""
        return self._now.state.present.root_pem.encode()

    @property
    def client_roots_pem(self) -> bytes:
        """What the agent port checks clients against: also the issuing certificates, for clients that send their own alone."""
        taken = self._now.state.generations
        return "".join(each.root_pem + each.issuing_pem for each in taken).encode()

    @property
    def server_tail_pem(self) -> bytes:
        """What a server shows after its own and the issuing certificate: the root, for hosts that enrol and know its hash; and what former
        roots say of those that followed, for those who were away.
        """
        return _tail(self._now.state)

    @property
    def root_sha256(self) -> bytes:
        """Of the present root's DER; the last part of join tokens."""
        return bytes.fromhex(self._now.state.present.root_id)

    def root_above(self, certificate_pem: bytes) -> str:
        """The id of the root under which an agent's certificate was issued; "" for one whose certificates are not taken (any more)."""
        return self._now.roots_of_issuers.get(_issuer_of(certificate_pem), "")

    def issue_agent(self, agent_id: str, key: ec.EllipticCurvePublicKey, life_seconds: float) -> IssuedCertificate:
        """A client certificate, SAN URI:seawall://<cluster>/agent/<agent_id>."""
        name = names.agent_name(self._cluster_id, agent_id)
        life = timedelta(seconds=life_seconds)
        begin = names.beginning(datetime_of(self._clock.now_us()), life)
        return self._issue(self._now, f"agent {agent_id}", name, names.for_clients(), key, begin, life)

    def issue_server(self, server_names: tuple[str, ...], key: ec.EllipticCurvePublicKey) -> IssuedCertificate:
        """A server certificate, its chain as a server shows it: with `server_tail_pem`.

        It begins with the authority: made while this clock stood wrong, it serves all the same once the clock is set right.
        """
        now = self._now
        begin, alternative = now.issuing.not_valid_before_utc, names.server_names(server_names)
        issued = self._issue(now, "controller", alternative, names.for_servers(), key, begin, names.SERVER_LIFE)
        return IssuedCertificate(issued.chain_pem + _tail(now.state), issued.expires_us)

    def _issue(
        self,
        now: _Now,
        common_name: str,
        alternative: x509.SubjectAlternativeName,
        use: x509.ExtendedKeyUsage,
        key: ec.EllipticCurvePublicKey,
        begin: datetime,
        life: timedelta,
    ) -> IssuedCertificate:
        # Whole seconds, as the certificate has them; never beyond the authority's own end.
        latest = max(datetime_of(self._clock.now_us()), begin) + life
        end = min(latest, now.issuing.not_valid_after_utc).replace(microsecond=0)
        builder = x509.CertificateBuilder().subject_name(names.subject(common_name)).issuer_name(now.issuing.subject)
        builder = builder.public_key(key).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        builder = builder.add_extension(names.key_identifier(key), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(names.end_use(), critical=True).add_extension(use, critical=False)
        builder = builder.add_extension(alternative, critical=False)
        issuer = now.issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
        certificate = builder.sign(now.issuing_key, hashes.SHA256())
        chain = certificate.public_bytes(Encoding.PEM) + now.issuing.public_bytes(Encoding.PEM)
        return IssuedCertificate(chain, microseconds_of(end))


def _followed(state: AuthorityState, box: SecretBox) -> _Now:
    issuers = {_key_identifier(each): each.root_id for each in state.generations}
    issuing = x509.load_pem_x509_certificate(state.present.issuing_pem.encode())
    return _Now(state, issuing, issuing_key_of(state.present, box), issuers)


def _tail(state: AuthorityState) -> bytes:
    return (state.present.root_pem + "".join(each.link_pem for each in state.formers)).encode()


def _key_identifier(generation: Generation) -> bytes:
    issuing = x509.load_pem_x509_certificate(generation.issuing_pem.encode())
    return issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@lru_cache(maxsize=4096)
def _issuer_of(certificate_pem: bytes) -> bytes:
    """The key identifier of whoever signed it; empty where it names none. Kept by certificate: it is asked for at each call of an agent."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    except _UNREADABLE:
        return b""
