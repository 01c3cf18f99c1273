"""Presigned PUTs and GETs, as agents use them, on a folder and on a real S3 server."""

import hashlib
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.clock import SystemClock
from seawall.repository.errors import BucketMissing, ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import SignedPut, Store, StoredAs
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import PROBE_PREFIX, probe
from seawall.repository.store.retry import RetryingTransfer
from seawall.repository.store.signed_headers import ANY_CONTENT
from support.store_clock import SkippingClock

NAME = "v1/p/default/3f/3fa0.0"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path)
    store: Store = request.getfixturevalue("s3_store")
    return store


@pytest.fixture
def client() -> Iterator[PresignedClient]:
    with PresignedClient() as client:
        yield client


def sign(store: Store, body: bytes, name: str = NAME, expires_seconds: int = 60) -> SignedPut:
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    return store.sign_put(name, len(body), md5, expires_seconds=expires_seconds)


def test_put_stores_once_and_then_says_exists(store: Store, client: PresignedClient) -> None:
    body = secrets.token_bytes(300_000)
    target = sign(store, body)
    assert client.put(target, memoryview(body)) is StoredAs.NEW
    assert client.put(target, body) is StoredAs.EXISTS
    assert store.get(NAME) == body


def test_another_body_cannot_replace_the_first(store: Store, client: PresignedClient) -> None:
    store.put(NAME, b"first")
    assert client.put(sign(store, b"second"), b"second") is StoredAs.EXISTS
    assert store.get(NAME) == b"first"


def test_a_body_that_is_not_the_announced_one_is_refused(store: Store, client: PresignedClient) -> None:
    target = sign(store, b"announced")
    for body in (b"disguised", b"announced and more", b"short"):
        with pytest.raises(StoreRefused):
            client.put(target, body)
    assert list(store.list("")) == []


@pytest.mark.parametrize("header", ["If-None-Match", "Content-MD5"])
def test_a_signed_header_cannot_be_left_out(store: Store, client: PresignedClient, header: str) -> None:
    target = sign(store, b"body")
    bare = {key: value for key, value in target.headers.items() if key != header}
    with pytest.raises(StoreRefused):
        client.put(replace(target, headers=bare), b"body")
    assert list(store.list("")) == []


def test_a_put_that_was_signed_without_an_md5_takes_any_body_of_its_length_once(
    store: Store, client: PresignedClient
) -> None:
    target = store.sign_put(NAME, 4, ANY_CONTENT, expires_seconds=60)
    assert "Content-MD5" not in target.headers
    for wrong in (b"short"[:3], b"longer"):
        with pytest.raises(StoreRefused):
            client.put(target, wrong)
    without = {key: value for key, value in target.headers.items() if key != "If-None-Match"}
    with pytest.raises(StoreRefused):
        client.put(replace(target, headers=without), b"body")
    assert client.put(target, b"body") is StoredAs.NEW
    assert client.put(target, b"ydob") is StoredAs.EXISTS
    assert store.get(NAME) == b"body"


def test_a_put_signature_opens_no_other_name_and_reads_nothing(s3_store: Store, client: PresignedClient) -> None:
    target = sign(s3_store, b"body")
    with pytest.raises(StoreRefused):
        client.put(replace(target, url=target.url.replace("3fa0.0", "3fa0.1")), b"body")
    s3_store.put(NAME, b"body")
    with pytest.raises(StoreRefused):
        client.get(target.url)


def test_expired_urls_are_refused_by_a_server(s3_store: Store, client: PresignedClient) -> None:
    s3_store.put(NAME, b"body")
    # S3 signatures count in whole seconds, and this is the server's clock: there is nothing to await but time.
    urls = s3_store.sign_get(NAME, expires_seconds=1), sign(s3_store, b"late", "v1/late", expires_seconds=1)
    SystemClock().sleep_seconds(2.1)
    assert_expired(*urls, client)


def test_expired_urls_are_refused_in_a_folder(tmp_path: Path) -> None:
    clock = SkippingClock()
    store = FolderStore(tmp_path, clock)
    store.put(NAME, b"body")
    with PresignedClient(clock=clock) as client:
        urls = store.sign_get(NAME, expires_seconds=9), sign(store, b"late", "v1/late", expires_seconds=9)
        assert urls[1].expires_us == clock.now_us() + 9_000_000
        clock.pass_seconds(8.9)
        assert client.get(urls[0]) == b"body"
        clock.pass_seconds(0.1)
        assert_expired(*urls, client)
    assert [info.name for info in store.list("")] == [NAME]


def assert_expired(get_url: str, target: SignedPut, client: PresignedClient) -> None:
    with pytest.raises(StoreRefused, match="expired"):
        client.put(target, b"late")
    with pytest.raises(StoreRefused, match="expired"):
        client.get(get_url)


def test_get_reads_whole_objects_and_ranges(store: Store, client: PresignedClient) -> None:
    body = secrets.token_bytes(100_000)
    store.put(NAME, body)
    url = store.sign_get(NAME, expires_seconds=60)
    assert client.get(url) == body
    for offset, length in [(0, 10), (99_990, 10), (99_990, 50), (100_000, 5), (7, 0), (0, 100_000)]:
        assert client.get_range(url, offset, length) == body[offset : offset + length]


def test_get_of_a_missing_object_says_so(store: Store, client: PresignedClient) -> None:
    store.put("v1/p/default/3f/beside", b"it")
    url = store.sign_get(NAME, expires_seconds=60)
    with pytest.raises(ObjectMissing):
        client.get(url)
    with pytest.raises(ObjectMissing):
        client.get_range(url, 0, 1)


def test_an_unmounted_folder_is_not_written_beside(tmp_path: Path, client: PresignedClient) -> None:
    target = sign(FolderStore(tmp_path), b"body")
    here = replace(target, url=target.url.replace(str(tmp_path), str(tmp_path / "elsewhere")))
    with pytest.raises(BucketMissing):
        client.put(here, b"body")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "file:///a/../b?expires_us=99999999999999999", "memory://store/v1/x", "ftp://h/x", "x"),
        *("file:///a%00b?expires_us=99999999999999999", "file:///?expires_us=99999999999999999"),
        *(f"file:///a?expires_us={'9' * 5000}", "http://h:99999/x", "http://[h/x", "http:///x"),
    ],
)
def test_urls_that_nobody_signed_are_refused(client: PresignedClient, url: str) -> None:
    with pytest.raises(StoreRefused):
        client.get(url)
    with pytest.raises(StoreRefused):
        client.put(SignedPut(url, sign(MemoryStore(), b"body").headers), b"body")


def test_errors_never_show_the_signature(s3_store: Store, client: PresignedClient) -> None:
    with pytest.raises(ObjectMissing) as caught:
        client.get(s3_store.sign_get(NAME, expires_seconds=60))
    assert "Signature" not in str(caught.value)
    url = f"http://h:99999/x?X-Amz-Signature={'se' + 'cret'}"  # not as the traceback's source lines show it
    with pytest.raises(StoreRefused) as refused:
        client.get(url)
    assert "secret" not in "".join(traceback.format_exception(refused.value))
    assert "Signature" not in repr(sign(s3_store, b"body"))


def test_no_server_is_a_temporary_error(client: PresignedClient, s3_credentials: S3Credentials) -> None:
    store = open_store("s3://nobody?endpoint=http://127.0.0.1:9", s3_credentials)
    with pytest.raises(StoreUnavailable):
        client.get(store.sign_get(NAME, expires_seconds=60))
    with pytest.raises(StoreUnavailable):
        store.get(NAME)


def test_the_retrying_transfer_keeps_the_contract(store: Store, client: PresignedClient) -> None:
    transfer = RetryingTransfer(client, SkippingClock())
    target = sign(store, b"body")
    assert [transfer.put(target, b"body") for _ in range(2)] == [StoredAs.NEW, StoredAs.EXISTS]
    url = store.sign_get(NAME, expires_seconds=60)
    assert (transfer.get(url), transfer.get_range(url, 1, 2)) == (b"body", b"od")


def test_probe_finds_every_promise_kept_by_a_real_server(s3_store: Store, client: PresignedClient) -> None:
    found = probe(s3_store, client)
    assert found.create_only and found.create_only_atomic and found.md5_checked and found.signed_condition
    assert found.warnings == ()
    assert list(s3_store.list(PROBE_PREFIX)) == []


def test_probe_says_that_a_folder_has_no_walls(tmp_path: Path, client: PresignedClient) -> None:
    found = probe(FolderStore(tmp_path), client)
    assert found.create_only and found.create_only_atomic and found.md5_checked
    assert not found.signed_condition
    assert len(found.warnings) == 1 and "upload URL" in found.warnings[0]


class ForgetfulStore(MemoryStore):
    """Ignores the condition without a word, as some servers do."""

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        super().put(name, body, create_only=False)


class ForgetfulTransfer:
    """The same server, reached through signed URLs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        self._store.put(target.url.removeprefix(f"{self._store.url}/"), body)
        return StoredAs.NEW

    def get(self, url: str) -> bytes:
        return self._store.get(url.removeprefix(f"{self._store.url}/"))

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        return self.get(url)[offset : offset + length]

    def get_suffix(self, url: str, length: int) -> bytes:
        return self.get(url)[-length:]


def test_probe_warns_of_each_promise_that_is_not_kept() -> None:
    store = ForgetfulStore()
    found = probe(store, ForgetfulTransfer(store))
    assert not (found.create_only or found.create_only_atomic or found.md5_checked or found.signed_condition)
    assert len(found.warnings) == 4
    assert list(store.list("")) == []


def test_probe_takes_no_refusal_for_a_promise_where_nothing_works(client: PresignedClient) -> None:
    with pytest.raises(StoreRefused):
        probe(MemoryStore(), client)


def test_a_wrong_secret_is_refused_for_good(s3_server: SeaweedFS) -> None:
    store = open_store(f"s3://tests?endpoint={s3_server.endpoint}", S3Credentials("tester", "wrong"))
    with pytest.raises(StoreRefused):
        store.get(NAME)
    with pytest.raises(StoreRefused):
        store.put(NAME, b"x")
