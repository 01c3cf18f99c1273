"""A certificate authority for tests: signs the requests that agents make, and the server's own certificate."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from seawall.agent.control.identity import Identity, new_private_key, signing_request


@dataclass
class Authority:
    """One CA. `serial` grows with each agent certificate."""

    ca: trustme.CA = field(default_factory=lambda: trustme.CA(key_type=trustme.KeyType.ECDSA))
    signed: int = 0

    @property
    def root_pem(self) -> bytes:
        return self.ca.cert_pem.bytes()

    @property
    def root_sha256(self) -> bytes:
        der = x509.load_pem_x509_certificate(self.root_pem).public_bytes(serialization.Encoding.DER)
        return sha256(der).digest()

    def server(self) -> tuple[bytes, bytes]:
        """(private key, chain with the root) for 127.0.0.1."""
        leaf = self.ca.issue_cert("127.0.0.1", "localhost")
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems) + self.root_pem
        return leaf.private_key_pem.bytes(), chain

    def sign(
        self,
        csr_der: bytes,
        agent_id: str,
        *,
        age: timedelta = timedelta(minutes=1),
        life: timedelta = timedelta(days=7),
    ) -> bytes:
        """A client certificate over the request's key, valid from `age` ago for `life`."""
        request = x509.load_der_x509_csr(csr_der)
        assert request.is_signature_valid
        root = x509.load_pem_x509_certificate(self.root_pem)
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        start = datetime.now(UTC) - age
        self.signed += 1
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(root.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + life)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"seawall://test/agent/{agent_id}")]), True
            )
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def identity(
        self, address: str, *, age: timedelta = timedelta(minutes=1), life: timedelta = timedelta(days=7)
    ) -> Identity:
        """An enrolled agent."""
        key, agent_id = new_private_key(), str(uuid.uuid4())
        certificate = self.sign(signing_request(key), agent_id, age=age, life=life)
        return Identity(agent_id, address, certificate.decode(), key, self.root_pem.decode())
