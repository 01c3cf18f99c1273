"""A host that was away for longer than its certificate lasted: a new one, once it proves the last one's key. Blocking; no gRPC here."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from seawall.api.recovery_proof import recovery_proof
from seawall.controller.certificates.authority import IssuedCertificate
from seawall.controller.enrolment.enrol import Enrolment
from seawall.controller.enrolment.nonces import Nonces
from seawall.controller.enrolment.port import AgentRecord, EnrolmentStore
from seawall.controller.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class RecoveryClaim:
    """What the host hands in."""

    agent_id: str
    nonce: bytes
    csr_der: bytes
    signature: bytes
    """ECDSA, DER."""


class Recovery:
    """Thread-safe. The certificate's end does not matter here, and so no clock of either side can keep a host out."""

    def __init__(self, store: EnrolmentStore, enrolment: Enrolment, nonces: Nonces) -> None:
        self._store = store
        self._enrolment = enrolment
        self._nonces = nonces

    def begin(self, agent_id: str) -> bytes:
        """A nonce. Looks up nothing: a stranger learns nothing of which agents there are."""
        return self._nonces.make(agent_id)

    def recover(self, claim: RecoveryClaim) -> IssuedCertificate:
        """Raises Unauthenticated/NONCE_OVER, RECOVERY_REFUSED, AGENT_REVOKED (only to who proved the key); InvalidArgument/BAD_CSR."""
        self._nonces.check(claim.agent_id, claim.nonce)
        agent = self._store.agent(claim.agent_id)
        if agent is None or not _is_signed(agent, claim):
            raise Unauthenticated(
                "RECOVERY_REFUSED",
                "This controller does not know the host by this key; enrol it anew: seawall agent join",
            )
        return self._enrolment.renew(claim.agent_id, claim.csr_der)


def _is_signed(agent: AgentRecord, claim: RecoveryClaim) -> bool:
    if not agent.certificate_pem:  # stands for hosts that nobody knows (a recovered catalogue)
        return False
    key = x509.load_pem_x509_certificate(agent.certificate_pem).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(claim.signature, recovery_proof(claim.agent_id, claim.nonce, claim.csr_der), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
