"""What an agent signs to get a certificate after its last one ended. The controller checks it with the key of that last one."""

from hashlib import sha256

_PURPOSE = b"seawall agent recovery 1"


def recovery_proof(agent_id: str, nonce: bytes, csr_der: bytes) -> bytes:
    """The bytes to sign: the purpose, and a hash of each part, so that no part can be shifted into another."""
    return _PURPOSE + b"".join(sha256(part).digest() for part in (agent_id.encode(), nonce, csr_der))
