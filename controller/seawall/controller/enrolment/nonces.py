"""Nonces that are not stored: whoever shows one got it here, for this agent, less than a minute ago."""

import hmac
import secrets
import struct
from hashlib import sha256

from seawall.controller.errors import Unauthenticated
from seawall.repository.clock import Clock

LIFE_SECONDS = 60.0
_TIME = struct.Struct(">d")
_RANDOM_BYTES = 16


class Nonces:
    """Of one controller process: its key is made at its start. Time is the monotonic clock's, so that no clock that jumps revives one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def make(self, agent_id: str) -> bytes:
        """56 bytes: time, randomness, MAC."""
        body = _TIME.pack(self._clock.monotonic_seconds()) + secrets.token_bytes(_RANDOM_BYTES)
        return body + self._mac(agent_id, body)

    def check(self, agent_id: str, nonce: bytes) -> None:
        """Raises Unauthenticated/NONCE_OVER: made elsewhere, for another agent, or too long ago."""
        body, mac = nonce[: _TIME.size + _RANDOM_BYTES], nonce[_TIME.size + _RANDOM_BYTES :]
        if hmac.compare_digest(mac, self._mac(agent_id, body)):
            age = self._clock.monotonic_seconds() - _TIME.unpack_from(body)[0]
            if age < LIFE_SECONDS:
                return
        raise Unauthenticated(
            "NONCE_OVER", "The recovery was begun with another controller, or too long ago; begin it again."
        )

    def _mac(self, agent_id: str, body: bytes) -> bytes:
        return hmac.digest(self._key, agent_id.encode() + b"\0" + body, sha256)
