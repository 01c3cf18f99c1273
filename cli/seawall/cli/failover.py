"""Several controllers as one channel: whoever cannot be reached, or does not lead, is passed over for the next.

A read is answered by any of them, a change by the one that leads. Every change carries a request id, so asking twice is safe.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seawall.api.standing_still import StandsStill, answer_of, answers_of
from seawall.repository.clock import Clock

OPTIONS = [("grpc.min_reconnect_backoff_ms", 2_000)]
"""For each channel: so long a machine that does not answer at all is waited for, before the next controller is asked."""

ELECTION_SECONDS = 25.0
"""So long a leader is waited for: the lease of one that died, and the next one's start."""

PAUSE_SECONDS = 0.5

STILL_SECONDS = 5.0
"""After so long one that stood still is asked again: it costs 3 s of the time in which the others elect a leader."""


class FailoverChannel:
    """The part of grpc.Channel that stubs use. Stays with the controller that answered last."""

    def __init__(self, channels: Sequence[grpc.Channel], clock: Clock) -> None:
        self._channels = list(channels)
        self._clock = clock
        self._first = 0

    def unary_unary(self, *how: Any, **named: Any) -> Callable[..., Any]:
        """One call; each try has the whole deadline."""
        methods = [channel.unary_unary(*how, **named) for channel in self._channels]

        def call(request: Any, timeout: float | None = None) -> Any:
            return self._asked(
                lambda number: answer_of(methods[number].future(request, timeout=timeout), self._channels[number])
            )

        return call

    def unary_stream(self, *how: Any, **named: Any) -> Callable[..., Iterator[Any]]:
        """A stream that broke off in the middle is the caller's to open again."""
        methods = [channel.unary_stream(*how, **named) for channel in self._channels]

        def begin(number: int, request: Any, timeout: float | None) -> tuple[list[Any], Any]:
            stream = answers_of(methods[number](request, timeout=timeout), self._channels[number])
            return [answer for _, answer in zip(range(1), stream, strict=False)], stream

        def call(request: Any, timeout: float | None = None) -> Iterator[Any]:
            first, rest = self._asked(lambda number: begin(number, request, timeout))
            asked = self._first
            yield from first
            try:
                yield from rest
            except StandsStill:
                self._first = (asked + 1) % len(self._channels)
                raise

        return call

    def _asked(self, ask: Callable[[int], Any]) -> Any:
        """What the first controller says that can say it. Raises the RpcError of the last one; StandsStill where one of them did.

        One that stood still may be the only one that can answer, and only slow: it is asked again, though not at each turn.
        """
        deadline = self._clock.monotonic_seconds() + ELECTION_SECONDS
        order = [(self._first + step) % len(self._channels) for step in range(len(self._channels))]
        again = dict.fromkeys(order, -math.inf)
        last: grpc.RpcError = StandsStill()
        still = False
        while True:
            patient = still
            for number in [each for each in order if again[each] <= self._clock.monotonic_seconds()]:
                try:
                    answer = ask(number)
                except StandsStill as error:
                    last, still, patient = error, True, True
                    again[number] = self._clock.monotonic_seconds() + STILL_SECONDS
                except grpc.RpcError as error:
                    if not is_elsewhere(error):
                        raise
                    last = last if still else error
                    patient = patient or reason_of(error) == "NOT_LEADER"
                else:
                    self._first = number
                    return answer
            if not patient or self._clock.monotonic_seconds() >= deadline:
                raise last
            self._clock.sleep_seconds(PAUSE_SECONDS)


def is_elsewhere(error: grpc.RpcError) -> bool:
    """Whether another controller may answer: this one is away, stops, or does not lead."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and reason_of(error) in ("", "NOT_LEADER", "DRAINING")


def reason_of(error: grpc.RpcError) -> str:
    """The controller's own word; "" when the answer is not a controller's."""
    return str(error_info(error).reason)


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """What a controller's answer says of itself; empty when the answer is not a controller's."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            return info
    return error_details_pb2.ErrorInfo()
