"""Calls to a controller that stands still behind a connection that is there: real servers, a line that stops."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from seawall.agent.control.following import FollowingChannel
from seawall.api import standing_still
from seawall.api.standing_still import HEALTH, StandsStill, answer_of, answers_of
from seawall.cli import failover
from seawall.cli.failover import FailoverChannel
from support.still_line import StillLine, still_line
from support.store_clock import SkippingClock

ASK, WATCH = "/test.Test/Ask", "/test.Test/Watch"
LONG_SECONDS = 30.0
"""Of a call's own deadline: nothing here is to wait for that."""


class Server(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Answers with its name once `ready`; its health service at once."""

    def __init__(self, name: str, opened: ExitStack) -> None:
        self.name = name.encode()
        self.ready = threading.Event()
        self.ready.set()
        self.asked = 0
        self.looks = 0
        self.deaf = False
        """Its health service answers nothing in time."""
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((self,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        opened.callback(lambda: server.stop(None).wait())
        opened.callback(self.ready.set)
        self.line: StillLine = opened.enter_context(still_line(port))
        self.channel: Any = opened.enter_context(grpc.insecure_channel(self.line.address))

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == HEALTH:
            return grpc.unary_unary_rpc_method_handler(self._health)
        if details.method == ASK:
            return grpc.unary_unary_rpc_method_handler(self._ask)
        return grpc.unary_stream_rpc_method_handler(self._watch)

    def _health(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.looks += 1
        if self.deaf:
            self.ready.wait(LONG_SECONDS)
            time.sleep(2 * standing_still.ANSWER_SECONDS)
        if self.looks == 3:
            self.ready.set()
        return b""

    def _ask(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked += 1
        self.ready.wait(LONG_SECONDS)
        return self.name

    def _watch(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self.name
        yield self._ask(request, context)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.setattr(standing_still, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(standing_still, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(failover, "ELECTION_SECONDS", 2 * failover.STILL_SECONDS)
    with ExitStack() as stack:
        yield stack


def ask(channel: Any) -> bytes:
    return bytes(channel.unary_unary(ASK)(b"", timeout=LONG_SECONDS))


def test_one_that_is_slow_is_waited_for(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_still, "ANSWER_SECONDS", LONG_SECONDS)
    server = Server("one", opened)
    server.ready.clear()
    assert answer_of(server.channel.unary_unary(ASK).future(b"", timeout=LONG_SECONDS), server.channel) == b"one"
    assert (server.asked, server.looks) == (1, 3)


def test_one_that_stands_still_is_not(opened: ExitStack) -> None:
    server = Server("one", opened)
    assert ask(server.channel) == b"one"
    server.line.still(True)
    with pytest.raises(StandsStill):
        answer_of(server.channel.unary_unary(ASK).future(b"", timeout=LONG_SECONDS), server.channel)
    server.line.still(False)
    assert ask(server.channel) == b"one", "the connection is as good as before"


def test_one_that_is_gone_is_a_broken_connection(opened: ExitStack) -> None:
    server = Server("one", opened)
    server.ready.clear()
    call = server.channel.unary_unary(ASK).future(b"", timeout=LONG_SECONDS)
    threading.Timer(0.3, server.line.close).start()
    server.looks = 100  # nobody makes it answer
    with pytest.raises(grpc.RpcError) as caught:
        answer_of(call, server.channel)
    assert not isinstance(caught.value, StandsStill)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_stream_that_is_quiet_goes_on_and_one_that_stands_still_ends(opened: ExitStack) -> None:
    server = Server("one", opened)
    server.ready.clear()
    watching = answers_of(server.channel.unary_stream(WATCH)(b""), server.channel)
    assert list(watching) == [b"one", b"one"]
    server.looks = 100
    server.ready.clear()
    watching = answers_of(server.channel.unary_stream(WATCH)(b""), server.channel)
    assert next(watching) == b"one"
    server.line.still(True)
    with pytest.raises(StandsStill):
        next(watching)
    unfinished = answers_of(server.channel.unary_stream(WATCH)(b""), server.channel)
    server.line.still(False)
    assert next(unfinished) == b"one"
    server.channel.close()
    for thread in threading.enumerate():
        if thread.name == "stands-still":
            thread.join(LONG_SECONDS)
            assert not thread.is_alive()


def test_the_command_line_asks_the_next_one(opened: ExitStack) -> None:
    one, two = Server("one", opened), Server("two", opened)
    channel = FailoverChannel([one.channel, two.channel], SkippingClock())
    assert ask(channel) == b"one"
    one.line.still(True)
    assert ask(channel) == b"two"
    assert list(channel.unary_stream(WATCH)(b"")) == [b"two", b"two"]
    one.line.still(False)
    two.ready.clear()
    two.looks = 100
    watching = channel.unary_stream(WATCH)(b"")
    assert next(watching) == b"two"
    two.line.still(True)
    with pytest.raises(StandsStill):
        next(watching)
    assert next(channel.unary_stream(WATCH)(b"")) == b"one", "it is not asked again first"
    one.line.still(True)
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel)
    assert caught.value.details() == "it is connected, but stands still"


def test_the_only_one_that_can_answer_is_asked_again(opened: ExitStack) -> None:
    """It was slow, and not still."""
    slow, gone = Server("slow", opened), Server("gone", opened)
    gone.line.close()

    class Waking(SkippingClock):
        def sleep_seconds(self, seconds: float) -> None:
            super().sleep_seconds(seconds)
            slow.line.still(False)

    slow.line.still(True)
    assert ask(FailoverChannel([slow.channel, gone.channel], Waking())) == b"slow"


def test_an_answer_that_comes_while_its_controller_is_looked_at_counts(opened: ExitStack) -> None:
    server = Server("one", opened)
    server.deaf = True
    server.ready.clear()
    threading.Timer(0.3, server.ready.set).start()
    assert answer_of(server.channel.unary_unary(ASK).future(b"", timeout=LONG_SECONDS), server.channel) == b"one"


def test_a_worker_asks_the_others(opened: ExitStack) -> None:
    one, two = Server("one", opened), Server("two", opened)
    addresses = {one.line.address: one, two.line.address: two}
    spread = grpc.insecure_channel(one.line.address)
    with FollowingChannel(spread, grpc.insecure_channel, list(addresses)) as channel:
        assert ask(channel) == b"one"
        one.line.still(True)
        answers = []
        for _ in range(3):
            try:
                answers.append(ask(channel))
            except grpc.RpcError as error:
                assert isinstance(error, StandsStill), error
        assert answers, "one of three tries in turn meets the other"
        assert set(answers) == {b"two"}
