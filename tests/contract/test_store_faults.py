"""Retries against a real S3 server behind a bad network: what was acknowledged is there, once, and what could not be done is said."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import urlsplit

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.errors import ObjectExists, StoreUnavailable
from seawall.repository.store.location import S3Credentials, S3Location, parse_location
from seawall.repository.store.port import StoredAs
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.retry import RetryingStore, RetryingTransfer
from seawall.repository.store.s3 import S3Store
from support.faulty_proxy import Fault, FaultyProxy
from support.store_clock import SkippingClock

FAULTS = [Fault.BUSY, Fault.CUT_BEFORE, Fault.LOST_ANSWER]


@pytest.fixture
def proxy(s3_server: SeaweedFS) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_server.endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def bare(proxy: FaultyProxy, s3_url: str, s3_credentials: S3Credentials) -> S3Store:
    prefix = urlsplit(s3_url).path.strip("/")
    location = parse_location(f"s3://tests/{prefix}?endpoint={proxy.endpoint}")
    assert isinstance(location, S3Location)
    return S3Store(location, s3_credentials, page_size=2)


@pytest.fixture
def store(bare: S3Store) -> RetryingStore:
    return RetryingStore(bare, SkippingClock())


@pytest.fixture
def client() -> Iterator[PresignedClient]:
    with PresignedClient() as client:
        yield client


@pytest.mark.parametrize("fault", [*FAULTS, Fault.CUT_ANSWER])
def test_each_fault_is_a_temporary_error_without_retries(bare: S3Store, proxy: FaultyProxy, fault: Fault) -> None:
    bare.put("v1/x", b"a body of some length")
    proxy.plan.append(fault)
    with pytest.raises(StoreUnavailable):
        bare.get("v1/x")
    assert proxy.requests == 2, "boto3 itself must not retry"


def test_puts_survive_faults(store: RetryingStore, proxy: FaultyProxy) -> None:
    for number, fault in enumerate(FAULTS):
        proxy.plan.extend([fault] * 2)
        store.put(f"v1/{number}", b"body %d" % number)
        assert store.get(f"v1/{number}") == b"body %d" % number
    assert not proxy.plan


def test_a_lost_answer_does_not_hide_another_writers_object(store: RetryingStore, proxy: FaultyProxy) -> None:
    store.put("v1/x", b"theirs")
    proxy.plan.extend([Fault.CUT_BEFORE, Fault.LOST_ANSWER])
    with pytest.raises(ObjectExists):
        store.put("v1/x", b"ours!!")
    assert store.get("v1/x") == b"theirs"


def test_reads_and_deletes_survive_faults(store: RetryingStore, proxy: FaultyProxy) -> None:
    body = bytes(range(200))
    store.put("v1/x", body)
    proxy.plan.extend([*FAULTS, Fault.CUT_ANSWER])
    assert store.get("v1/x") == body
    proxy.plan.extend([Fault.CUT_ANSWER, Fault.BUSY])
    assert store.get_range("v1/x", 10, 20) == body[10:30]
    proxy.plan.extend([Fault.LOST_ANSWER, Fault.CUT_BEFORE])
    store.delete("v1/x")
    assert list(store.list("")) == []


def test_a_list_goes_on_where_it_broke(store: RetryingStore, proxy: FaultyProxy) -> None:
    names = [f"v1/{number}" for number in range(9)]
    for name in names:
        store.put(name, b"x")
    listing = store.list("v1/")
    seen = [info.name for info in islice(listing, 3)]
    proxy.plan.extend([Fault.BUSY, Fault.CUT_ANSWER, Fault.NONE, Fault.LOST_ANSWER])
    seen += [info.name for info in listing]
    assert sorted(seen) == names


def test_signed_transfers_survive_faults(bare: S3Store, client: PresignedClient, proxy: FaultyProxy) -> None:
    transfer = RetryingTransfer(client, SkippingClock())
    for fault, expected in [
        (Fault.BUSY, StoredAs.NEW),
        (Fault.CUT_BEFORE, StoredAs.NEW),
        (Fault.LOST_ANSWER, StoredAs.EXISTS),
    ]:
        name, body = f"v1/{fault.name}", fault.value.encode()
        target = bare.sign_put(name, len(body), hashlib.md5(body).digest(), expires_seconds=60)
        proxy.plan.append(fault)
        assert transfer.put(target, body) is expected
        url = bare.sign_get(name, expires_seconds=60)
        proxy.plan.extend([fault, Fault.CUT_ANSWER])
        assert transfer.get(url) == body
        proxy.plan.extend([Fault.CUT_ANSWER, fault])
        assert transfer.get_range(url, 1, 5) == body[1:6]


def test_a_body_cut_short_is_never_handed_out(bare: S3Store, client: PresignedClient, proxy: FaultyProxy) -> None:
    bare.put("v1/x", b"0123456789")
    url = bare.sign_get("v1/x", expires_seconds=60)
    reads: list[Callable[[], bytes]] = [lambda: client.get(url), lambda: client.get_range(url, 0, 8)]
    for read in reads:
        proxy.plan.append(Fault.CUT_ANSWER)
        with pytest.raises(StoreUnavailable):
            read()
