"""A worker's calls where several controllers share a database: to whoever leads, as those say who do not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NoReturn, cast

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from seawall.agent.control.errors import ControllerSilent, LeaderElsewhere
from seawall.agent.control.failures import mapped
from seawall.agent.control.following import OUTDATED_ANSWERS, FollowingChannel
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError
from seawall.api.v1 import agent_pb2, agent_pb2_grpc
from support.store_clock import SkippingClock

Context = grpc.ServicerContext
WAIT_SECONDS = 10.0


class Replica:
    """Answers PackStored if it leads, else names who does."""

    def __init__(self, leader: str = "") -> None:
        self.leader = leader
        self.leads = False
        self.asked = 0

    def pack_stored(self, request: agent_pb2.PackStoredRequest, context: Context) -> agent_pb2.PackStoredResponse:
        self.asked += 1
        if not self.leads:
            _refuse(context, self.leader)
        return agent_pb2.PackStoredResponse()


def _refuse(context: Context, leader: str) -> NoReturn:
    info = error_details_pb2.ErrorInfo(reason="NOT_LEADER", domain="seawall")
    if leader:
        info.metadata["agent_address"] = leader
    detail = AnyMessage()
    detail.Pack(info)
    code = grpc.StatusCode.UNAVAILABLE.value[0]
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message="no", details=[detail])))
    raise AssertionError("unreachable: the call was ended")


@contextmanager
def served(replica: Replica) -> Iterator[tuple[str, grpc.Server]]:
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(
        replica.pack_stored, agent_pb2.PackStoredRequest.FromString, agent_pb2.PackStoredResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("seawall.api.v1.AgentService", {"PackStored": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        server.stop(None).wait()


class Two:
    """The first is the one that the spread channel reaches."""

    def __init__(self, opened: ExitStack) -> None:
        self.first, self.second = Replica(), Replica()
        self.first_address, _ = opened.enter_context(served(self.first))
        self.second_address, self.second_server = opened.enter_context(served(self.second))
        spread = grpc.insecure_channel(self.first_address)
        addresses = (self.first_address, self.second_address)
        self.channel = opened.enter_context(FollowingChannel(spread, grpc.insecure_channel, addresses))

    def ask(self) -> str:
        """ "", or the class of what it met."""
        stub = agent_pb2_grpc.AgentServiceStub(cast(grpc.Channel, self.channel))
        try:
            stub.PackStored(agent_pb2.PackStoredRequest(), timeout=WAIT_SECONDS)
        except grpc.RpcError as error:
            return type(mapped(error)).__name__
        return ""


@pytest.fixture
def two() -> Iterator[Two]:
    with ExitStack() as opened:
        yield Two(opened)


def test_the_next_call_goes_to_the_leader_and_stays_there(two: Two) -> None:
    two.first.leader, two.second.leads = two.second_address, True
    assert [two.ask() for _ in range(4)] == ["LeaderElsewhere", "", "", ""]
    assert (two.first.asked, two.second.asked) == (1, 3)


def test_a_leader_that_dies_is_given_up_for_another(two: Two) -> None:
    """Who has not learned of its end yet names it still, and is not believed."""
    two.first.leader, two.second.leads = two.second_address, True
    assert [two.ask(), two.ask()] == ["LeaderElsewhere", ""]
    two.second_server.stop(None).wait()
    assert two.ask() == "ControllerSilent"
    assert {two.ask() for _ in range(OUTDATED_ANSWERS)} <= {"LeaderElsewhere", "ControllerSilent"}
    two.first.leads = True
    assert "" in [two.ask() for _ in range(3)]
    assert two.ask() == "", "it stays there"


def test_a_leader_whose_address_means_nothing_here_is_found_in_turn(two: Two) -> None:
    two.first.leader, two.second.leads = "127.0.0.1:1", True
    assert "" in [two.ask() for _ in range(6)]
    assert two.ask() == ""
    assert two.second.asked


def test_one_that_leads_no_more_says_who_does(two: Two) -> None:
    two.first.leader, two.second.leads = two.second_address, True
    assert [two.ask(), two.ask()] == ["LeaderElsewhere", ""]
    two.second.leads, two.second.leader, two.first.leads = False, two.first_address, True
    assert [two.ask(), two.ask()] == ["LeaderElsewhere", ""]


def test_nobody_leads_for_a_while(two: Two) -> None:
    assert {two.ask() for _ in range(4)} == {"LeaderElsewhere"}
    assert two.first.asked and two.second.asked, "all are asked in turn"
    two.first.leads = True
    assert "" in [two.ask(), two.ask()]
    assert two.ask() == ""


@pytest.mark.parametrize(("error", "bound"), [(LeaderElsewhere("no"), 5.0), (ControllerSilent("no"), 60.0)])
def test_an_election_is_asked_about_more_often_than_silence(error: AgentError, bound: float) -> None:
    """Ten tries of the one take less than 5 s, of the other more than that, in all likelihood, and less than a minute."""
    clock, tries = SkippingClock(), [0]

    def call() -> None:
        tries[0] += 1
        if tries[0] <= 10:
            raise error

    begun = clock.monotonic_seconds()
    Retry(clock, clock.sleep_seconds)(call)
    assert 10 * 0.2 < clock.monotonic_seconds() - begun < bound
