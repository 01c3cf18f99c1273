"""Answers of a store that are no answers: broken XML, headers, lengths, dates, statuses. Our own errors, no wait for ever, no wrong word.

Over real connections: S3 calls through boto3, and presigned calls.
"""

import gc
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seawall.repository.errors import RepositoryError, StoreRefused, StoreUnavailable
from seawall.repository.store.location import S3Credentials, S3Location
from seawall.repository.store.port import SignedPut, Store
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.s3 import S3Store, create_bucket
from support.mutations import Step, mutated, steps
from support.raw_server import RawServer, raw_server

# boto3 leaves the connection of an answer that it cannot parse to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

KEYS = S3Credentials("key", "secret")
SECONDS = 5.0
DATE = b"Sat, 01 Jan 2000 00:00:00 GMT"
LIST = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>vault</Name>'
    b"<Prefix>v1/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>v1/a</Key>"
    b'<LastModified>2026-11-22T10:00:00.000Z</LastModified><ETag>"x"</ETag><Size>7</Size></Contents><Contents><Key>v1/b</Key>'
    b"<LastModified>2026-11-22T10:00:00.000Z</LastModified><Size>9</Size></Contents></ListBucketResult>"
)
ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>no</Message><Key>v1/a</Key></Error>'
)
SMALL = b"0123456789"

CALLS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("v1/a"),
    "range": lambda store: store.get_range("v1/a", 2, 8),
    "suffix": lambda store: store.get_suffix("v1/a", 8),
    "head": lambda store: store.head("v1/a"),
    "list": lambda store: list(store.list("v1/")),
    "put": lambda store: store.put("v1/a", b"body"),
    "delete": lambda store: store.delete("v1/a"),
}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Here, not in whatever test comes next."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as made:
        yield made


@pytest.fixture(scope="module")
def client() -> Iterator[PresignedClient]:
    """With one connection: an answer that costs it holds the next call for ever."""
    with PresignedClient(connections=1) as made:
        yield made


@pytest.fixture(scope="module")
def store(server: RawServer) -> S3Store:
    return S3Store(S3Location("vault", endpoint=server.url), KEYS)


def answer(status: bytes, body: bytes, *headers: bytes, length: bytes | None = None) -> bytes:
    told = str(len(body)).encode() if length is None else length
    lines = [b"HTTP/1.1 " + status, *([b"Content-Length: " + told] if told else []), *headers, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


LAST_MODIFIED = b"Last-Modified: " + DATE
WHOLE = [
    answer(b"200 OK", LIST, b"Content-Type: application/xml"),
    answer(b"200 OK", SMALL, b'ETag: "x"', LAST_MODIFIED),
    answer(b"206 Partial Content", SMALL[2:], b"Content-Range: bytes 2-9/10", LAST_MODIFIED),
    answer(b"404 Not Found", ERROR, b"Content-Type: application/xml"),
    answer(b"200 OK", b"0a\r\n0123456789\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", LAST_MODIFIED, length=b""),
]
BROKEN = {
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no length": answer(b"200 OK", SMALL, length=b""),
    "no date": answer(b"200 OK", b"", length=b"10"),
    "a word for a length": answer(b"200 OK", SMALL, LAST_MODIFIED, length=b"ten"),
    "a negative length": answer(b"200 OK", SMALL, LAST_MODIFIED, length=b"-5"),
    "two lengths": answer(b"200 OK", SMALL, b"Content-Length: 11", LAST_MODIFIED),
    "equal lengths": answer(b"200 OK", SMALL, b"Content-Length: 10, 10", LAST_MODIFIED, length=b""),
    "a huge length": answer(b"200 OK", SMALL, LAST_MODIFIED, length=b"9" * 30),
    "a length of many digits": answer(b"200 OK", SMALL, LAST_MODIFIED, length=b"9" * 5000),
    "a date of nonsense": answer(b"200 OK", SMALL, b"Last-Modified: yesterday"),
    "a date before time": answer(b"200 OK", SMALL, b"Last-Modified: Sat, 01 Jan 0000 00:00:00 GMT"),
    "no chunks": answer(b"200 OK", b"zz\r\nxx", b"Transfer-Encoding: chunked", LAST_MODIFIED, length=b""),
    "short": answer(b"200 OK", SMALL, LAST_MODIFIED, length=b"20"),
    "status 0": answer(b"000 ?", SMALL, LAST_MODIFIED),
    "status 99": answer(b"99 ?", SMALL, LAST_MODIFIED),
    "status 999": answer(b"999 ?", SMALL, LAST_MODIFIED),
    "status of letters": answer(b"abc OK", SMALL),
    "204": answer(b"204 No Content", b"", LAST_MODIFIED, length=b""),
    "304": answer(b"304 Not Modified", b"", LAST_MODIFIED, length=b""),
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "a long line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a redirect to itself": answer(b"307 Temporary Redirect", b"", b"Location: /vault/v1/a"),
    "a redirect elsewhere": answer(b"301 Moved", ERROR, b"Location: http://127.0.0.1:9/", b"x-amz-bucket-region: mars-1"),
    "cut xml": answer(b"200 OK", LIST[:-40]),
    "no xml": answer(b"200 OK", b"{}"),
    "empty": answer(b"200 OK", b""),
    "another document": answer(b"200 OK", ERROR),
    "no size": answer(b"200 OK", LIST.replace(b"<Size>7</Size>", b"")),
    "size of letters": answer(b"200 OK", LIST.replace(b"<Size>7<", b"<Size>seven<")),
    "negative size": answer(b"200 OK", LIST.replace(b"<Size>7<", b"<Size>-7<")),
    "no key": answer(b"200 OK", LIST.replace(b"<Key>v1/a</Key>", b"")),
    "no dates": answer(b"200 OK", LIST.replace(b"<LastModified>2026-11-22T10:00:00.000Z</LastModified>", b"")),
    "dates of nonsense": answer(b"200 OK", LIST.replace(b"2026-11-22T10", b"2026-99-99T99")),
    "a page without the next": answer(b"200 OK", LIST.replace(b"false", b"true")),
    "another prefix": answer(b"200 OK", LIST.replace(b"<Key>v1/a", b"<Key>elsewhere/a")),
    "the same page for ever": answer(
        b"200 OK",
        LIST.replace(b"false</IsTruncated>", b"true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
    ),
    "a document type": answer(b"200 OK", b'<!DOCTYPE a [<!ENTITY b "c">]>' + LIST.partition(b"?>")[2]),
    "an error without a body": answer(b"500 ?", b""),
    "an error of many codes": answer(b"503 ?", b"<Error><Code><Code>SlowDown</Code></Code></Error>"),
    "an error that is no text": answer(b"400 ?", bytes(range(256))),
    "an error without a code": answer(b"403 ?", b"<Error></Error>"),
}  # fmt: skip


def outcome(call: Callable[[], object]) -> object:
    """What came back, or our own error; nothing waits for ever and nothing else is raised."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert found, "waits for ever"
    if isinstance(found[0], Exception) and not isinstance(found[0], RepositoryError):
        raise found[0]
    if isinstance(error := found[0], RepositoryError):
        assert str(error)
        assert "Signature" not in str(error)
    return found[0]


def plausible(name: str, found: object) -> None:
    if isinstance(found, RepositoryError):
        return
    if name in ("range", "suffix"):
        assert isinstance(found, bytes) and len(found) <= 8
    if name == "list":
        assert isinstance(found, list)
        assert all(info.name.startswith("v1/") and info.size_bytes >= 0 for info in found)
    if name == "head":
        assert getattr(found, "size_bytes", -1) >= 0


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "a redirect to itself" else []) for kind in BROKEN]
)
def test_broken_answers_to_s3_calls(server: RawServer, store: S3Store, kind: str) -> None:
    server.answer = BROKEN[kind]
    for name, call in CALLS.items():
        plausible(name, outcome(lambda call=call: call(store)))  # type: ignore[misc]
    outcome(lambda: create_bucket(S3Location("vault", endpoint=server.url), KEYS))


@pytest.mark.parametrize("kind", ["no xml", "empty", "another document", "cut xml", "no key", "no size", "204", "304"])
def test_what_is_no_list_is_no_list_without_objects(server: RawServer, store: S3Store, kind: str) -> None:
    """Who takes one for an empty bucket collects what he does not see."""
    server.answer = BROKEN[kind]
    with pytest.raises(RepositoryError):
        list(store.list("v1/"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.sampled_from(range(len(WHOLE))), st.sampled_from(sorted(CALLS)), steps())
@example(0, "list", [("token", 3, 4)])
def test_mutated_answers_to_s3_calls(
    server: RawServer, store: S3Store, whole: int, name: str, changes: list[Step]
) -> None:
    head, _, body = WHOLE[whole].partition(b"\r\n\r\n")
    inside = mutated(body, changes)
    server.answer = answer(head.split(b"\r\n")[0].partition(b" ")[2], inside, LAST_MODIFIED)
    plausible(name, outcome(lambda: CALLS[name](store)))
    server.answer = mutated(WHOLE[whole], changes)
    plausible(name, outcome(lambda: CALLS[name](store)))


def signed(server: RawServer) -> dict[str, Callable[[PresignedClient], object]]:
    url = f"{server.url}/vault/v1/a?X-Amz-Signature=secret"
    return {
        "get": lambda client: client.get(url),
        "range": lambda client: client.get_range(url, 2, 8),
        "suffix": lambda client: client.get_suffix(url, 8),
        "put": lambda client: client.put(SignedPut(url, {"Content-Length": "4"}), b"body"),
    }


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers_to_signed_calls(server: RawServer, client: PresignedClient, kind: str) -> None:
    for _ in range(2):
        server.answer = BROKEN[kind]
        for name, call in signed(server).items():
            plausible(name, outcome(lambda call=call: call(client)))  # type: ignore[misc]
    server.answer = answer(b"200 OK", SMALL)
    assert outcome(lambda: signed(server)["get"](client)) == SMALL


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.sampled_from(range(len(WHOLE))), st.sampled_from(["get", "range", "suffix", "put"]), steps())
def test_mutated_answers_to_signed_calls(
    server: RawServer, client: PresignedClient, whole: int, name: str, changes: list[Step]
) -> None:
    server.answer = mutated(WHOLE[whole], changes)
    plausible(name, outcome(lambda: signed(server)[name](client)))


@pytest.mark.parametrize(
    "url",
    ["file://[::1", "file:///a?expires_us=%ff", "file:///a%00?expires_us=1", "file://host/a?expires_us=1", "http://[", "http://", "", "ftp://x/y",
     "http://127.0.0.1:99999/a", "http://127.0.0.1:x/a", "file:///" + "a" * 5000 + "?expires_us=99999999999999999"],
)  # fmt: skip
def test_urls_that_nobody_signed(url: str) -> None:
    with PresignedClient() as client, pytest.raises((StoreRefused, StoreUnavailable)):
        client.get(url)
    with PresignedClient() as client, pytest.raises((StoreRefused, StoreUnavailable)):
        client.put(SignedPut(url, {}), b"")
