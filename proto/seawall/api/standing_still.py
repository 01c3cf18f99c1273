"""A controller that stands still (stopped, swapped out, cut off without a word) keeps its connections, and whoever called it waits.

Who may ask another one instead looks, while it waits, whether the one that was asked is there at all: its health service answers out of
memory, whatever database and stores do. Any answer will do, a refusal too. Used by workers and the command line; the supervisor, whose
calls are asynchronous, does the same in `seawall.agent.supervisor.connection`.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc

HEALTH = "/grpc.health.v1.Health/Check"
ANY_SERVICE = b""
"""A HealthCheckRequest, as it is on the wire."""
LOOK_SECONDS = 1.5
"""A controller that has not answered for so long is looked at."""
ANSWER_SECONDS = 1.5
"""So long it has to answer that look. With the way to another one the two stay under 5 s."""


class StandsStill(grpc.RpcError):
    """In place of the answer. What was asked may still happen once that controller goes on."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "it is connected, but stands still"

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def __str__(self) -> str:
        return self.details()


def answer_of(call: Any, channel: grpc.Channel) -> Any:
    """The answer of a unary call that was begun as a future on this channel. Raises its RpcError; StandsStill, and then it is cancelled."""
    while True:
        try:
            return call.result(timeout=LOOK_SECONDS)
        except grpc.FutureTimeoutError:
            if stands_still(channel) and not call.done():
                call.cancel()
                raise StandsStill from None


def answers_of(call: Any, channel: grpc.Channel) -> Iterator[Any]:
    """The answers of a stream on this channel, which may well be far apart. Raises as `answer_of` does. The call ends with the iterator."""
    over, heard, still = threading.Event(), threading.Event(), threading.Event()

    def look() -> None:
        with suppress(ValueError):  # the channel was closed under a stream that nobody finished
            while not over.wait(LOOK_SECONDS):
                if heard.is_set():
                    heard.clear()
                elif stands_still(channel) and not heard.is_set():
                    still.set()
                    call.cancel()
                    return

    looking = threading.Thread(target=look, name="stands-still", daemon=True)
    looking.start()
    try:
        for answer in call:
            heard.set()
            yield answer
    except grpc.RpcError as error:
        if still.is_set():
            raise StandsStill from error
        raise
    finally:
        over.set()
        call.cancel()
        looking.join()


def stands_still(channel: grpc.Channel) -> bool:
    """Whether nobody answers behind a connection that is there. One that is broken is no such case: the calls on it end by themselves."""
    try:
        channel.unary_unary(HEALTH, bytes, bytes)(ANY_SERVICE, timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return False
