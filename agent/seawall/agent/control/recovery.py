"""A host that was away for longer than its certificate lasts gets a new one: it proves the key of the old one. Blocking; one try."""

from dataclasses import replace
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from seawall.agent.control.any_controller import first_that_answers
from seawall.agent.control.channel import enrolment_channel
from seawall.agent.control.errors import ControllerRefused, NotEnrolled
from seawall.agent.control.failures import mapped
from seawall.agent.control.identity import PENDING_KEY, Identity, kept_key, save_identity, signing_request
from seawall.api.recovery_proof import recovery_proof
from seawall.api.v1 import enroll_pb2, enroll_pb2_grpc

CALL_SECONDS = 20.0


def recover(identity: Identity, state_dir: Path) -> Identity:
    """The same agent with a new key and certificate, durable on disk.

    Raises ControllerSilent, ControllerRefused (RECOVERY_REFUSED: neither key of ours is the one that it knows), NotTrusted (revoked).
    """
    pending = state_dir / PENDING_KEY
    interrupted = pending.exists()
    new_key = kept_key(pending)

    def ask(old_key: str) -> enroll_pb2.RecoverResponse:
        return first_that_answers(identity.enrol_addresses, lambda address: _ask(address, identity, old_key, new_key))

    try:
        answer = ask(identity.private_key_pem)
    except ControllerRefused as error:
        if error.reason != "RECOVERY_REFUSED" or not interrupted:
            raise
        # The answer to an earlier renewal was lost: the controller knows the key that was asked for then.
        answer = ask(new_key)
    renewed = replace(
        identity,
        address=answer.agent_address or identity.address,
        private_key_pem=new_key,
        certificate_pem=answer.certificate_pem.decode(),
        ca_bundle_pem=answer.ca_bundle_pem.decode() or identity.ca_bundle_pem,
    )
    save_identity(state_dir, renewed)
    pending.unlink(missing_ok=True)
    return renewed


def _ask(address: str, identity: Identity, old_key_pem: str, new_key_pem: str) -> enroll_pb2.RecoverResponse:
    csr = signing_request(new_key_pem)
    with enrolment_channel(address, identity.ca_bundle_pem.encode()) as channel:
        stub = enroll_pb2_grpc.EnrollServiceStub(channel)
        try:
            begun = stub.BeginRecovery(
                enroll_pb2.BeginRecoveryRequest(agent_id=identity.agent_id), timeout=CALL_SECONDS
            )
            proof = recovery_proof(identity.agent_id, begun.nonce, csr)
            request = enroll_pb2.RecoverRequest(
                agent_id=identity.agent_id, nonce=begun.nonce, csr_der=csr, signature=_signed(old_key_pem, proof)
            )
            return stub.Recover(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise mapped(error) from error


def _signed(key_pem: str, message: bytes) -> bytes:
    """ECDSA with SHA-256, DER."""
    key = load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NotEnrolled("the private key of this host is not an elliptic-curve key")
    return key.sign(message, ec.ECDSA(SHA256()))
