"""Retries against a real S3 server behind a bad network: what was acknowledged is there, once, and what could not be done is said."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import urlsplit

import pytest
from deploy.lab.fault_proxy.control import ActiveRule, FaultProxy
from deploy.lab.fault_proxy.rules import (
    ACCESS_DENIED,
    NO_SUCH_BUCKET,
    QUOTA_EXCEEDED,
    SLOW_DOWN,
    Action,
    Answer,
    CutAnswer,
    CutRequest,
    LostAnswer,
    Pass,
)

from seawall.repository.errors import BucketMissing, ObjectExists, StoreBusy, StoreFull, StoreRefused, StoreUnavailable
from seawall.repository.store.location import S3Credentials, S3Location, parse_location
from seawall.repository.store.port import StoredAs
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.retry import RetryingStore, RetryingTransfer
from seawall.repository.store.s3 import S3Store
from support.store_clock import SkippingClock

pytest_plugins = ["support.fault_proxy"]

CUT_BEFORE, CUT_AMID, LOST, CUT_ANSWER = CutRequest(), CutRequest(1), LostAnswer(), CutAnswer(4)
FAULTS: list[Action] = [SLOW_DOWN, CUT_BEFORE, CUT_AMID, LOST]


@pytest.fixture
def bare(fault_proxy: FaultProxy, s3_url: str, s3_credentials: S3Credentials) -> S3Store:
    prefix = urlsplit(s3_url).path.strip("/")
    location = parse_location(f"s3://tests/{prefix}?endpoint={fault_proxy.endpoint}")
    assert isinstance(location, S3Location)
    return S3Store(location, s3_credentials, page_size=2)


@pytest.fixture
def store(bare: S3Store) -> RetryingStore:
    return RetryingStore(bare, SkippingClock())


@pytest.fixture
def client() -> Iterator[PresignedClient]:
    with PresignedClient() as client:
        yield client


class Plan:
    """One action for each of the next requests, in turn."""

    def __init__(self, proxy: FaultProxy, *actions: Action) -> None:
        self._rules: list[ActiveRule] = [proxy.rule(action, times=1) for action in actions]

    def used_up(self) -> bool:
        return all(rule.taken() == 1 for rule in self._rules)


@pytest.mark.parametrize("fault", [SLOW_DOWN, CUT_BEFORE, LOST, CUT_ANSWER])
def test_each_fault_is_a_temporary_error_without_retries(bare: S3Store, fault_proxy: FaultProxy, fault: Action) -> None:
    bare.put("v1/x", b"a body of some length")
    rule = fault_proxy.rule(fault)
    with pytest.raises(StoreUnavailable):
        bare.get("v1/x")
    assert rule.taken() == 1, "boto3 itself must not retry"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (SLOW_DOWN, StoreBusy),
        (Answer(429), StoreBusy),
        (Answer(500), StoreUnavailable),
        (QUOTA_EXCEEDED, StoreFull),
        (Answer(403, "QuotaExceeded"), StoreFull),
        (ACCESS_DENIED, StoreRefused),
        (NO_SUCH_BUCKET, BucketMissing),
    ],
    ids=lambda value: f"{value.status} {value.code}" if isinstance(value, Answer) else "",
)
def test_answers_are_told_apart(
    bare: S3Store, client: PresignedClient, fault_proxy: FaultProxy, answer: Answer, kind: type[Exception]
) -> None:
    """By both adapters; and no retry is spent on what a retry cannot help."""
    fault_proxy.rule(answer, method="PUT")
    target = bare.sign_put("v1/x", 4, hashlib.md5(b"body").digest(), expires_seconds=60)
    for put in (lambda: bare.put("v1/x", b"body"), lambda: client.put(target, b"body")):
        with pytest.raises(kind) as raised:
            put()
        assert type(raised.value) is kind


@pytest.mark.parametrize("fault", FAULTS)
def test_puts_survive_faults(store: RetryingStore, fault_proxy: FaultProxy, fault: Action) -> None:
    plan = Plan(fault_proxy, fault, fault)
    store.put("v1/x", b"a body")
    assert store.get("v1/x") == b"a body"
    assert plan.used_up()


def test_a_lost_answer_does_not_hide_another_writers_object(store: RetryingStore, fault_proxy: FaultProxy) -> None:
    store.put("v1/x", b"theirs")
    Plan(fault_proxy, CUT_BEFORE, LOST)
    with pytest.raises(ObjectExists):
        store.put("v1/x", b"ours!!")
    assert store.get("v1/x") == b"theirs"


def test_reads_and_deletes_survive_faults(store: RetryingStore, fault_proxy: FaultProxy) -> None:
    body = bytes(range(200))
    store.put("v1/x", body)
    Plan(fault_proxy, SLOW_DOWN, CUT_BEFORE, LOST, CUT_ANSWER)
    assert store.get("v1/x") == body
    Plan(fault_proxy, CUT_ANSWER, SLOW_DOWN)
    assert store.get_range("v1/x", 10, 20) == body[10:30]
    Plan(fault_proxy, LOST, CUT_BEFORE)
    store.delete("v1/x")
    assert list(store.list("")) == []


def test_a_list_goes_on_where_it_broke(store: RetryingStore, fault_proxy: FaultProxy) -> None:
    names = [f"v1/{number}" for number in range(9)]
    for name in names:
        store.put(name, b"x")
    listing = store.list("v1/")
    seen = [info.name for info in islice(listing, 3)]
    Plan(fault_proxy, SLOW_DOWN, CUT_ANSWER, Pass(), LOST)
    seen += [info.name for info in listing]
    assert sorted(seen) == names


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(SLOW_DOWN, StoredAs.NEW), (CUT_BEFORE, StoredAs.NEW), (CUT_AMID, StoredAs.NEW), (LOST, StoredAs.EXISTS)],
)
def test_signed_transfers_survive_faults(
    bare: S3Store, client: PresignedClient, fault_proxy: FaultProxy, fault: Action, expected: StoredAs
) -> None:
    transfer = RetryingTransfer(client, SkippingClock())
    body = b"some bytes for it"
    target = bare.sign_put("v1/x", len(body), hashlib.md5(body).digest(), expires_seconds=60)
    Plan(fault_proxy, fault)
    assert transfer.put(target, body) is expected
    url = bare.sign_get("v1/x", expires_seconds=60)
    Plan(fault_proxy, fault, CUT_ANSWER)
    assert transfer.get(url) == body
    Plan(fault_proxy, CUT_ANSWER, fault)
    assert transfer.get_range(url, 1, 5) == body[1:6]


def test_a_body_cut_short_is_never_handed_out(bare: S3Store, client: PresignedClient, fault_proxy: FaultProxy) -> None:
    bare.put("v1/x", b"0123456789")
    url = bare.sign_get("v1/x", expires_seconds=60)
    reads: list[Callable[[], bytes]] = [lambda: client.get(url), lambda: client.get_range(url, 0, 8)]
    for read in reads:
        Plan(fault_proxy, CUT_ANSWER)
        with pytest.raises(StoreUnavailable):
            read()
