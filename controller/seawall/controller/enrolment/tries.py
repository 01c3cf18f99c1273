"""Counting wrong tries by caller, so that guessing tokens is slow and the log stays readable."""

from collections import OrderedDict

from seawall.controller.errors import ResourceExhausted
from seawall.repository.clock import Clock

ALLOWED = 10
WINDOW_SECONDS = 60.0
MAX_CALLERS = 10_000


class WrongTries:
    """At most ALLOWED wrong tries by one caller within the window; then all its tries are refused until the window has passed.

    Belongs to one event loop. Forgets the callers that were quiet longest when there are too many.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, caller: str) -> None:
        """Raises ResourceExhausted/TOO_MANY_TRIES."""
        if len(self._recent(caller)) >= ALLOWED:
            message = f"Too many wrong join tokens from {caller}; wait a minute and take a fresh token."
            raise ResourceExhausted("TOO_MANY_TRIES", message)

    def wrong(self, caller: str) -> None:
        self._tries[caller] = [*self._recent(caller), self._clock.monotonic_seconds()]
        self._tries.move_to_end(caller)
        while len(self._tries) > MAX_CALLERS:
            self._tries.popitem(last=False)

    def _recent(self, caller: str) -> list[float]:
        since = self._clock.monotonic_seconds() - WINDOW_SECONDS
        return [moment for moment in self._tries.get(caller, []) if moment > since]


def caller_of(peer: str) -> str:
    """gRPC's peer without the port: "ipv4:10.0.0.7:51234" -> "10.0.0.7"."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
