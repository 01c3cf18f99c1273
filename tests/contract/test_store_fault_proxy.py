"""The fault proxy does what its rules say: tests of faults are worth what it is worth. Through it, a real S3 server and raw HTTP."""

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.fault_proxy.rules import (
    SLOW_DOWN,
    CutAnswer,
    CutRequest,
    Delay,
    FlipBit,
    HalfOpen,
    Hold,
    LostAnswer,
    Pass,
    Trickle,
)
from deploy.lab.waiting import LabFailed
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import SignedPut, Store

pytest_plugins = ["support.fault_proxy"]

BODY = bytes(range(256)) * 4096  # 1 MiB
PUT, GET = "PUT", "GET"


class Client:
    """One connection to the proxy, asking for the objects of one store."""

    def __init__(self, proxy: FaultProxy, store: Store, timeout_seconds: float = 20.0) -> None:
        self.store = store
        self.proxy = proxy
        self.connection = HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=timeout_seconds)

    def put(self, name: str, body: bytes = BODY) -> int:
        target = self.sign(name, body)
        self.connection.request(PUT, _path(target.url), body, dict(target.headers))
        return self._answer()[0]

    def sign(self, name: str, body: bytes = BODY) -> SignedPut:
        return self.store.sign_put(name, len(body), hashlib.md5(body).digest(), expires_seconds=60)

    def get(self, name: str) -> bytes:
        self.connection.request(GET, _path(self.store.sign_get(name, expires_seconds=60)))
        return self._answer()[1]

    def _answer(self) -> tuple[int, bytes]:
        answer = self.connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def behind(s3_url: str, s3_credentials: S3Credentials, fault_proxy: FaultProxy, s3_server: SeaweedFS) -> Store:
    """The same place, with the proxy's address in what it signs."""
    return open_store(s3_url.replace(s3_server.endpoint, fault_proxy.endpoint), s3_credentials)


@pytest.fixture
def client(fault_proxy: FaultProxy, behind: Store) -> Iterator[Client]:
    made = Client(fault_proxy, behind)
    yield made
    made.connection.close()


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], object]], Future[object]]]:
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def test_without_rules_it_is_not_noticed(client: Client, s3_store: Store) -> None:
    assert client.put("v1/x") == 200
    socket = client.connection.sock
    assert client.get("v1/x") == BODY == s3_store.get("v1/x")
    assert client.connection.sock is socket, "the connection is kept"
    put = [each for each in client.proxy.log() if each.method == PUT][-1]
    assert (put.method, put.status, put.rule, put.sent_bytes) == (PUT, 200, 0, len(BODY))


def test_rules_choose_by_method_path_and_turn(client: Client, fault_proxy: FaultProxy) -> None:
    spared = fault_proxy.rule(Pass(), method=PUT, path="/spared/")
    rule = fault_proxy.rule(SLOW_DOWN, method=PUT, path=r"/v1/", skip=1, times=2)
    assert [client.put(f"v1/{number}", b"x") for number in range(4)] == [200, 503, 503, 200]
    assert client.put("v1/spared/x", b"x") == 200
    assert client.get("v1/0") == b"x"
    assert (rule.taken(), spared.taken()) == (2, 1)
    rule.await_over(2, 5)
    assert [(entry.status, entry.sent_bytes) for entry in rule.requests()] == [(503, 0)] * 2


def test_held_requests_wait_for_their_release(
    client: Client, fault_proxy: FaultProxy, s3_store: Store, beside: Callable[..., Future[int]]
) -> None:
    with fault_proxy.rule(Hold(), method=PUT) as rule:
        putting = beside(lambda: client.put("v1/x"))
        rule.await_held(1, 10)
        assert list(s3_store.list("v1/")) == [] and not putting.done()
        with pytest.raises(LabFailed, match="2 requests held"):
            rule.await_held(2, 0.2)
    assert putting.result(10) == 200 and s3_store.get("v1/x") == BODY
    assert rule.held() == 0


def test_an_answer_can_be_held_after_the_deed(
    client: Client, fault_proxy: FaultProxy, s3_store: Store, beside: Callable[..., Future[int]]
) -> None:
    rule = fault_proxy.rule(Hold(answered=True), method=PUT)
    putting = beside(lambda: client.put("v1/x"))
    rule.await_held(1, 10)
    assert s3_store.get("v1/x") == BODY and not putting.done()
    rule.release()
    assert putting.result(10) == 200


def test_a_lost_answer_comes_after_the_deed(client: Client, fault_proxy: FaultProxy, s3_store: Store) -> None:
    fault_proxy.rule(LostAnswer(), times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        client.put("v1/x")
    assert s3_store.get("v1/x") == BODY


@pytest.mark.parametrize("cut", [CutRequest(), CutRequest(0), CutRequest(100_000)])
def test_a_cut_request_does_nothing(client: Client, fault_proxy: FaultProxy, s3_store: Store, cut: CutRequest) -> None:
    rule = fault_proxy.rule(cut, times=1)
    with pytest.raises((HTTPException, OSError)):
        client.put("v1/x")
    rule.await_over(1, 10)
    assert rule.requests()[0].sent_bytes == (cut.after_bytes or 0)
    assert list(s3_store.list("v1/")) == []


def test_a_cut_answer_begins_well(client: Client, fault_proxy: FaultProxy, s3_store: Store) -> None:
    s3_store.put("v1/x", BODY)
    fault_proxy.rule(CutAnswer(100_000), times=1)
    with pytest.raises(http.client.IncompleteRead) as error:
        client.get("v1/x")
    assert error.value.partial == BODY[:100_000]


@pytest.mark.parametrize(("at_byte", "wrong"), [(0, 0), (70_000, 70_000), (1 << 30, len(BODY) - 1)])
def test_exactly_one_bit_is_wrong(
    client: Client, fault_proxy: FaultProxy, s3_store: Store, at_byte: int, wrong: int
) -> None:
    s3_store.put("v1/x", BODY)
    fault_proxy.rule(FlipBit(at_byte), method=GET, times=1)
    body = client.get("v1/x")
    assert [index for index, (is_, was) in enumerate(zip(body, BODY, strict=True)) if is_ != was] == [wrong]
    assert body[wrong] ^ BODY[wrong] == 1
    assert client.get("v1/x") == BODY


@pytest.mark.parametrize("slow", [Delay(0.5), Trickle(2 * len(BODY))])
def test_slow_is_slow(client: Client, fault_proxy: FaultProxy, slow: Delay | Trickle) -> None:
    for action in (lambda: client.put("v1/x"), lambda: client.get("v1/x")):
        with fault_proxy.rule(slow):
            began = time.monotonic()
            action()
            assert 0.4 < time.monotonic() - began < 10


@pytest.mark.parametrize("silent", [HalfOpen(), HalfOpen(reading=False), LostAnswer(silent=True)])
def test_silence_lasts_until_the_client_leaves(
    behind: Store, fault_proxy: FaultProxy, s3_store: Store, silent: HalfOpen | LostAnswer
) -> None:
    rule = fault_proxy.rule(silent, method=PUT)
    client = Client(fault_proxy, behind, timeout_seconds=0.5)
    with pytest.raises(TimeoutError):
        client.put("v1/x", BODY * 8)
    client.connection.close()
    if silent == HalfOpen(reading=False):
        rule.remove()  # who does not read sees no end
    rule.await_over(1, 10)
    assert [info.name for info in s3_store.list("v1/")] == (["v1/x"] if silent == LostAnswer(silent=True) else [])


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
