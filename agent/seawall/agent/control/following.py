"""A worker's channel where several controllers share a database: whoever answers says which of them leads, and the next try goes there.

Only the leader holds repositories open. No call is repeated here: whether it may be is for the retry decorator to know, which also waits
while nobody leads.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any, Self

import grpc

from seawall.agent.control.errors import LeaderElsewhere
from seawall.agent.control.failures import metadata_of, reason_of
from seawall.api.standing_still import StandsStill, answer_of

SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
OUTDATED_ANSWERS = 5
"""So many answers that still name a leader that just gave none are not believed: the others learn of its end a little later."""
ANY = ""


class FollowingChannel:
    """The part of grpc.Channel that stubs use. Thread-safe."""

    def __init__(self, spread: grpc.Channel, to: Callable[[str], grpc.Channel], addresses: Sequence[str]) -> None:
        """`spread`: to whichever controller answers. `to`: a channel to the agent port at host:port; all are closed on leaving.

        `addresses`: asked in turn while nobody names a leader who answers: what it calls itself may mean nothing on this host.
        """
        self._to = to
        self._turns = cycle(addresses)
        self._lock = threading.Lock()
        self._channels = {ANY: spread}
        self._asked = ANY
        self._lost = ""
        self._doubts = 0

    def unary_unary(self, *how: Any, **named: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None) -> Any:
            with self._lock:
                asked = self._asked
                channel = self._channels[asked]
            try:
                return answer_of(channel.unary_unary(*how, **named).future(request, timeout=timeout), channel)
            except grpc.RpcError as error:
                with self._lock:
                    if self._asked == asked:  # else another thread learned something meanwhile
                        self._ask(self._next(asked, error))
                raise

        return call

    def _next(self, asked: str, error: grpc.RpcError) -> str:
        """The address to ask after this answer."""
        if reason_of(error) == LeaderElsewhere.reason:
            named = metadata_of(error).get("agent_address", "")
            if named == self._lost and self._doubts:
                self._doubts -= 1
                return self._turn()
            return named or self._turn()
        if not isinstance(error, StandsStill) and (asked == ANY or error.code() not in SILENT):
            return asked  # that channel finds another one by itself
        self._lost, self._doubts = asked, OUTDATED_ANSWERS
        return self._turn()

    def _turn(self) -> str:
        """The next address but the one that was just lost, where there are others."""
        address = next(self._turns)
        return next(self._turns) if address == self._lost else address

    def _ask(self, address: str) -> None:
        if address not in self._channels:
            self._channels[address] = self._to(address)
        self._asked = address

    def close(self) -> None:
        with self._lock:
            for channel in self._channels.values():
                channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
