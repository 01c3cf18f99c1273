"""The operator's channel over several controllers: real servers that lead, do not lead, or are not there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from seawall.cli.failover import FailoverChannel, reason_of
from support.controller_application import free_port
from support.store_clock import SkippingClock

METHOD = "/test.Test/Ask"


class Server(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Answers with its name, or refuses with `reason`; `stream` says its name twice."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.reason = ""
        self.refusals_left = 1 << 30
        self.asked: list[bytes] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == METHOD:
            return grpc.unary_unary_rpc_method_handler(self._ask)
        return grpc.unary_stream_rpc_method_handler(self._stream)

    def _ask(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked.append(request)
        if self.reason and self.refusals_left > 0:
            self.refusals_left -= 1
            context.abort_with_status(_status(self.reason))
        return self.name

    def _stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self._ask(request, context)
        yield self.name


def _status(reason: str) -> grpc.Status:
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="seawall"))
    code = code_pb2.INVALID_ARGUMENT if reason == "BAD" else code_pb2.UNAVAILABLE
    return rpc_status.to_status(status_pb2.Status(code=code, message=reason, details=[detail]))


@contextmanager
def channel_to(*servers: Server | None) -> Iterator[FailoverChannel]:
    """None: nobody listens there."""
    with ExitStack() as opened:
        channels = []
        for each in servers:
            port = free_port()
            if each is not None:
                running = grpc.server(ThreadPoolExecutor(2))
                running.add_generic_rpc_handlers((each,))
                port = running.add_insecure_port("127.0.0.1:0")
                running.start()
                opened.callback(lambda running=running: running.stop(None).wait())  # type: ignore[misc]
            channels.append(opened.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")))
        yield FailoverChannel(channels, SkippingClock())


def test_the_first_that_leads_answers_and_is_asked_first_from_then_on() -> None:
    standby, leader = Server("standby"), Server("leader")
    standby.reason = "NOT_LEADER"
    with channel_to(None, standby, leader) as channel:
        ask = channel.unary_unary(METHOD)
        assert [ask(b"1", timeout=5), ask(b"2", timeout=5)] == [b"leader", b"leader"]
    assert (standby.asked, leader.asked) == ([b"1"], [b"1", b"2"]), "the same request, so the same request id"


def test_streams_begin_where_somebody_leads() -> None:
    standby, leader = Server("standby"), Server("leader")
    standby.reason = "NOT_LEADER"
    with channel_to(standby, leader) as channel:
        assert list(channel.unary_stream("/test.Test/Watch")(b"1", timeout=5)) == [b"leader", b"leader"]


def test_an_election_is_waited_for() -> None:
    one, two = Server("one"), Server("two")
    one.reason = two.reason = "NOT_LEADER"
    two.refusals_left = 4
    with channel_to(one, two) as channel:
        assert channel.unary_unary(METHOD)(b"1", timeout=5) == b"two"
    assert len(two.asked) == 5


@pytest.mark.parametrize(("reasons", "told"), [(("BAD", ""), "BAD"), (("NOT_LEADER", "NOT_LEADER"), "NOT_LEADER")])
def test_what_no_other_can_mend_is_told(reasons: tuple[str, str], told: str) -> None:
    servers = [Server("one"), Server("two")]
    for each, reason in zip(servers, reasons, strict=True):
        each.reason = reason
    with channel_to(*servers) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"1", timeout=5)
    assert reason_of(caught.value) == told
    assert servers[1].asked == [] or told == "NOT_LEADER"


def test_nobody_there_is_an_error_without_a_controllers_word() -> None:
    with channel_to(None, None) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"1", timeout=5)
    assert reason_of(caught.value) == ""
