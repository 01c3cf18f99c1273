"""A store that lets bytes drip holds no call for ever: through the fault proxy, with a clock that runs fast."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from deploy.lab.fault_proxy.control import FaultProxy
from deploy.lab.fault_proxy.rules import SLOW_DOWN, Trickle
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.errors import StoreUnavailable
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.retry import RetryingTransfer
from support.store_clock import SkippingClock

pytest_plugins = ["support.fault_proxy"]

SENT = bytes(24 << 20)  # more than the kernel takes in without anybody reading
BODY = bytes(2 << 20)
DRIP = Trickle(20_000)  # either would take minutes


class HastyClock:
    """`hasty`: a second of it takes 5 ms. To be changed between calls only."""

    hasty = False

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_seconds(self) -> float:
        return time.monotonic() * (200 if self.hasty else 1)

    def sleep_seconds(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class Calls:
    """Each call of both adapters that moves a body, on one object."""

    store: Store
    client: PresignedClient
    clock: HastyClock

    def signed_put(self) -> object:
        target = self.store.sign_put("v1/new", len(SENT), hashlib.md5(SENT).digest(), expires_seconds=60)
        return self.client.put(target, SENT)

    def signed_get(self) -> object:
        return self.client.get(self.store.sign_get("v1/x", expires_seconds=60))

    def signed_range(self) -> object:
        return self.client.get_range(self.store.sign_get("v1/x", expires_seconds=60), 0, len(BODY))

    def put(self) -> object:
        self.store.put("v1/new", SENT)
        return None

    def get(self) -> object:
        return self.store.get("v1/x")

    def range(self) -> object:
        return self.store.get_range("v1/x", 0, len(BODY))


@pytest.fixture
def calls(s3_url: str, s3_credentials: S3Credentials, fault_proxy: FaultProxy, s3_server: SeaweedFS) -> Iterator[Calls]:
    clock = HastyClock()
    store = open_store(s3_url.replace(s3_server.endpoint, fault_proxy.endpoint), s3_credentials, clock)
    store.put("v1/x", BODY)
    with PresignedClient(clock=clock) as client:
        yield Calls(store, client, clock)


_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("put", "range", "signed_put", "signed_range")]


@pytest.mark.parametrize("name", ["signed_get", "get", *_SLOW])
def test_dripping_bytes_are_given_up(calls: Calls, fault_proxy: FaultProxy, name: str) -> None:
    call: Callable[[], object] = getattr(calls, name)
    calls.clock.hasty = True
    began = time.monotonic()
    with fault_proxy.rule(DRIP), pytest.raises(StoreUnavailable) as given_up:
        call()
    assert time.monotonic() - began < 60
    if "put" not in name:  # there the kernel may have taken no byte for so long that the silence ended it first
        assert "too slow" in str(given_up.value)
    calls.clock.hasty = False
    call()  # the next call has a connection that works


def test_one_busy_answer_holds_back_all_calls(calls: Calls, fault_proxy: FaultProxy) -> None:
    """And the others are told what is waited for."""
    clock = SkippingClock()
    heard: list[str] = []

    class Watched(SkippingClock):
        def sleep_seconds(self, seconds: float) -> None:
            heard.append(transfer.waiting_on)
            clock.sleep_seconds(seconds)

        def monotonic_seconds(self) -> float:
            return clock.monotonic_seconds()

    transfer = RetryingTransfer(calls.client, Watched())
    fault_proxy.rule(SLOW_DOWN, times=2)
    assert transfer.get(calls.store.sign_get("v1/x", expires_seconds=60)) == BODY
    assert heard and all("the store, since" in text and "SlowDown" in text for text in heard)
    assert transfer.waiting_on == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signed_put", "put"])
def test_a_slow_body_that_moves_is_not_given_up(calls: Calls, fault_proxy: FaultProxy, name: str) -> None:
    """A socket's timeout is for the pieces of a body, not for all of it: an uplink of 6 Mbit/s takes 40 s for a pack."""
    call: Callable[[], object] = getattr(calls, name)
    with fault_proxy.rule(Trickle(700_000), method="PUT") as rule:
        call()
        assert rule.taken() == 1
