"""All controllers of a database have the same certificate authority: each looks every second whether its state is another one by now.

The higher version counts. A database that was put back, or lost, is told by whoever still has the newer one on disk.
"""

import asyncio
from functools import partial

import structlog

from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.state import AuthorityState
from seawall.controller.certificates.telling import Telling
from seawall.controller.errors import ControllerError
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock

SAY_AGAIN_SECONDS = 60.0
"""So often agents' words are stored anew during a rotation: a database that was put back has forgotten them."""

_log = structlog.get_logger()


def agree(store: Store, authority: CertificateAuthority) -> None:
    """Once, before a controller serves. Blocking. Raises what the store and `CertificateAuthority.adopt` raise."""
    own = authority.state
    stored = store.read_now(lambda transaction: transaction.authority.state())
    if stored is None or stored.version < own.version:
        stored = store.write_now(partial(_put, own))
    if differs(stored, own):
        authority.adopt(stored)


def differs(stored: AuthorityState, own: AuthorityState) -> bool:
    """Whether the stored one is to be taken over. Of one version the database's counts: ours was never seen by the others.

    Keys that were taken away from a state directory are no difference.
    """
    return stored.version > own.version or (stored.version == own.version and _told(stored) != _told(own))


class Following:
    """One controller's loop."""

    def __init__(self, store: Store, authority: CertificateAuthority, telling: Telling, clock: Clock) -> None:
        """`clock`: steady."""
        self._store = store
        self._authority = authority
        self._telling = telling
        self._clock = clock

    async def run(self, drain: Drain, interval_seconds: float) -> None:
        """Returns when the drain starts. A database that is away is waited for."""
        again = self._clock.monotonic_seconds() + SAY_AGAIN_SECONDS
        while not drain.started:
            try:
                await self.look()
            except ControllerError as error:
                _log.debug("authority.cannot_look", reason=error.reason)
            except Exception:
                # The top of the loop: a disk that is full is met again at the next look.
                _log.exception("authority.cannot_follow")
            if self._clock.monotonic_seconds() >= again:
                again = self._clock.monotonic_seconds() + SAY_AGAIN_SECONDS
                self._telling.forget()
            await drain.first(asyncio.sleep(interval_seconds), interval_seconds)

    async def look(self) -> None:
        own = self._authority.state
        stored = await self._store.read(lambda transaction: transaction.authority.state())
        if stored is None or stored.version < own.version or differs(stored, own):
            await asyncio.to_thread(agree, self._store, self._authority)
        await self._store_words()

    async def _store_words(self) -> None:
        taken = self._telling.take()
        if not taken:
            return
        try:
            await self._store.write(lambda transaction: transaction.authority.note(taken, self._clock.now_us()))
        except ControllerError:
            self._telling.give_back(taken)
            raise


def _put(own: AuthorityState, transaction: Transaction) -> AuthorityState:
    """The state that counts, stored."""
    stored = transaction.authority.state()
    if stored is not None and stored.version >= own.version:
        return stored
    transaction.authority.save(own, stored.version if stored is not None else 0)
    return own


def _told(state: AuthorityState) -> tuple[object, ...]:
    return (state.phase, *(each.root_id for each in state.generations), state.without)
