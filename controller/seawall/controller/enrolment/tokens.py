"""Making join tokens. The secret leaves once, in the text of the token; what stays is its hash."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass

from seawall.api.join_token import SECRET_BYTES, JoinToken
from seawall.controller.enrolment.port import EnrolmentStore, JoinTokenRecord
from seawall.controller.errors import InvalidArgument
from seawall.repository.clock import Clock

DEFAULT_TTL_SECONDS = 3600
MIN_TTL_SECONDS = 60
MAX_TTL_SECONDS = 24 * 3600
MAX_USES = 10_000


@dataclass(frozen=True, slots=True)
class CreatedToken:
    token: JoinToken
    expires_us: int


def create_join_token(
    store: EnrolmentStore, clock: Clock, *, enrol_address: str, ca_sha256: bytes, ttl_seconds: float, max_uses: int
) -> CreatedToken:
    """A new token, stored. Blocking.

    Raises InvalidArgument/BAD_TTL (1 minute to 24 hours), BAD_MAX_USES (1 to 10,000).
    """
    if not MIN_TTL_SECONDS <= ttl_seconds <= MAX_TTL_SECONDS:
        raise InvalidArgument("BAD_TTL", f"A join token lives from 1 minute to 24 hours, not {ttl_seconds:g} seconds.")
    if not 1 <= max_uses <= MAX_USES:
        raise InvalidArgument("BAD_MAX_USES", f"A join token may be used 1 to {MAX_USES} times, not {max_uses}.")
    now_us = clock.now_us()
    token = JoinToken(enrol_address, uuid.uuid4().hex, secrets.token_urlsafe(SECRET_BYTES), ca_sha256)
    token.render()
    expires_us = now_us + int(ttl_seconds * 1_000_000)
    store.add_join_token(JoinTokenRecord(token.token_id, secret_hash(token.secret), now_us, expires_us, max_uses))
    return CreatedToken(token, expires_us)


def secret_hash(secret: str) -> bytes:
    """What is stored. A plain hash is enough: the secret is 256 random bits, not a password."""
    return hashlib.sha256(secret.encode()).digest()
