"""Whose token it is: asked at every call of an operator, answered from the database, remembered for a few seconds."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Sequence

from seawall.controller.records.users import FIRST, Caller, User
from seawall.repository.clock import Clock

REMEMBER_SECONDS = 5.0


class Callers:
    """Belongs to one event loop. All users are read at once, so that many callers cost one look; only who is known is remembered."""

    def __init__(
        self,
        first: Collection[bytes],
        users: Callable[[], Awaitable[Sequence[User]]],
        clock: Clock,
        remember_seconds: float = REMEMBER_SECONDS,
    ) -> None:
        """`first`: SHA-256 of the first operator's tokens, who needs no database. `users`: those that were not removed."""
        self._first = first
        self._users = users
        self._clock = clock
        self._remember_seconds = remember_seconds
        self._known: dict[str, Caller] = {}
        self._looking = asyncio.Lock()
        self._looked: float | None = None
        self._changes = 0
        """How often users were changed here."""

    async def __call__(self, token_sha256: bytes) -> Caller | None:
        """None: nobody's. Raises Unavailable/DATABASE."""
        matching = [hmac.compare_digest(token_sha256, known) for known in self._first]
        if any(matching):
            return FIRST
        asked, digest = self._clock.monotonic_seconds(), token_sha256.hex()
        if digest not in self._known or not self._fresh(asked):
            await self._look(asked)
        return self._known.get(digest)

    def forget(self) -> None:
        """A user was changed here: from now on, not only in a few seconds."""
        self._looked = None
        self._changes += 1

    def _fresh(self, now: float) -> bool:
        return self._looked is not None and now - self._looked < self._remember_seconds

    async def _look(self, asked: float) -> None:
        """Unless somebody began to after it was asked for."""
        async with self._looking:
            if self._looked is not None and self._looked > asked:
                return
            began, changes = self._clock.monotonic_seconds(), self._changes
            found = await self._users()
            self._known = {user.token_sha256: Caller(user.name, user.role) for user in found}
            if changes == self._changes:  # else it may have been read before the change, and holds for this look alone
                self._looked = began
