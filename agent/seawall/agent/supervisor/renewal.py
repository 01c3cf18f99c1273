"""Renewing the agent's certificate at half its life, and when its authority is to be retired; and trusting whom the controller says.

With a new key each time. Written durably first, used afterwards.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog
from cryptography import x509

from seawall.agent.config import AgentConfig
from seawall.agent.control.errors import ControllerRefused, ControllerSilent, SessionUnknown
from seawall.agent.control.identity import PENDING_KEY, Identity, kept_key, save_identity, signing_request
from seawall.agent.supervisor.link import Link, Trust
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.timing import Timing
from seawall.repository.clock import Clock, microseconds_of

RENEW_AT = 0.5
SPREAD = 0.1  # so that a fleet enrolled in one minute does not renew in one minute

_log = structlog.get_logger("seawall.agent.supervisor")
_random = random.SystemRandom()


def renewal_due_us(identity: Identity, spread: float) -> int:
    """When to renew: half of the lifetime, moved by `spread` (-1 to 1) tenths of it."""
    start, end = identity.lifetime()
    due = start + (end - start) * (RENEW_AT + SPREAD * spread)
    return microseconds_of(due)


class Renewal:
    """One session's renewal loop."""

    def __init__(self, link: Link, state: SupervisorState, config: AgentConfig, timing: Timing, clock: Clock) -> None:
        self._link = link
        self._state = state
        self._config = config
        self._timing = timing
        self._clock = clock
        self._spread = _random.uniform(-1.0, 1.0)

    async def step(self) -> float:
        """Raises SessionUnknown once the certificate ended and the controller does not answer."""
        self._state.trust_news.clear()
        trust = self._state.trust
        if trust.ca_bundle_pem and trust.ca_bundle_pem != self._state.identity.ca_bundle_pem:
            await self._take_over(replace(self._state.identity, ca_bundle_pem=_certificates(trust.ca_bundle_pem)))
            _log.info("authority_trusted", roots=[each.hex() for each in self._state.identity.trusted_sha256])
        wait = timedelta(microseconds=renewal_due_us(self._state.identity, self._spread) - self._clock.now_us())
        if wait.total_seconds() > 0 and not trust.renew:
            await self._rest(min(wait.total_seconds(), self._timing.renewal_check))
            return 0.0
        try:
            await self._renew()
        except ControllerSilent as error:
            if self._state.identity.expired(self._clock.now_us()):
                # No handshake succeeds any more, and no other loop ends the session: a new one begins with the recovery.
                raise SessionUnknown("the certificate of this host ended while the controller was away") from error
            raise
        self._state.trust = Trust()  # until it is said again, by whoever sees the new one
        return 0.0

    async def _renew(self) -> None:
        pending = self._config.state_dir / PENDING_KEY
        key = await asyncio.to_thread(kept_key, pending)
        renewed = await self._link.renew(signing_request(key))
        identity = replace(
            self._state.identity,
            private_key_pem=key,
            certificate_pem=renewed.certificate_pem,
            ca_bundle_pem=renewed.ca_bundle_pem or self._state.identity.ca_bundle_pem,
        )
        await self._take_over(identity)
        pending.unlink(missing_ok=True)
        _log.info("certificate_renewed", expires=identity.lifetime()[1].isoformat())

    async def _take_over(self, identity: Identity) -> None:
        await asyncio.to_thread(save_identity, self._config.state_dir, identity)
        self._state.identity = identity
        self._link.replace(identity)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._state.trust_news.wait()


def _certificates(bundle_pem: str) -> str:
    """The same. Raises ControllerRefused: nobody could be trusted with it."""
    try:
        x509.load_pem_x509_certificates(bundle_pem.encode())
    except ValueError as error:
        raise ControllerRefused(f"the controller told of an authority that cannot be read: {error}") from error
    return bundle_pem
