"""Renewing the agent's certificate at half its life, with a new key: written durably first, used afterwards."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import structlog

from seawall.agent.config import AgentConfig
from seawall.agent.control.errors import ControllerSilent, SessionUnknown
from seawall.agent.control.identity import PENDING_KEY, Identity, kept_key, save_identity, signing_request
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.timing import Timing
from seawall.repository.clock import Clock, datetime_of

RENEW_AT = 0.5
SPREAD = 0.1  # so that a fleet enrolled in one minute does not renew in one minute

_log = structlog.get_logger("seawall.agent.supervisor")
_random = random.SystemRandom()


def renewal_due_us(identity: Identity, spread: float) -> int:
    """When to renew: half of the lifetime, moved by `spread` (-1 to 1) tenths of it."""
    start, end = identity.lifetime()
    due = start + (end - start) * (RENEW_AT + SPREAD * spread)
    return int(due.timestamp() * 1_000_000)


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
        wait = timedelta(microseconds=renewal_due_us(self._state.identity, self._spread) - self._clock.now_us())
        if wait.total_seconds() > 0:
            return min(wait.total_seconds(), self._timing.renewal_check)
        try:
            await self._renew()
        except ControllerSilent as error:
            if self._state.identity.expired(self._clock.now_us()):
                # No handshake succeeds any more, and no other loop ends the session: a new one begins with the recovery.
                raise SessionUnknown("the certificate of this host ended while the controller was away") from error
            raise
        return self._timing.renewal_check

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
        await asyncio.to_thread(save_identity, self._config.state_dir, identity)
        pending.unlink(missing_ok=True)
        self._state.identity = identity
        _log.info("certificate_renewed", expires=datetime_of(int(identity.lifetime()[1].timestamp() * 1e6)).isoformat())
        await self._link.replace(identity)
