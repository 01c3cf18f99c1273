"""The store port's contract, sentence by sentence, on every adapter and on every decorator over every adapter."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.clock import SystemClock
from seawall.repository.errors import BucketMissing, ObjectExists, ObjectMissing, StoreRefused
from seawall.repository.store.count import CountingStore
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials, S3Location, parse_location
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo, Store
from seawall.repository.store.retry import RetryingStore
from seawall.repository.store.s3 import S3Store
from seawall.repository.store.throttle import ThrottledStore, TokenBucket

DECORATORS: dict[str, Callable[[Store], Store]] = {
    "bare": lambda store: store,
    "retry": lambda store: RetryingStore(store, SystemClock()),
    "throttle": lambda store: ThrottledStore(store, TokenBucket(1e12, SystemClock())),
    "count": CountingStore,
    "stack": lambda store: DECORATORS["retry"](DECORATORS["throttle"](CountingStore(store))),
}

# On the real server, which is slow, the decorators are tried all at once, as they are used.
KINDS = [*(f"{kind}-{way}" for kind in ("memory", "folder") for way in DECORATORS), "s3-bare", "s3-stack"]


def make_bare(kind: str, request: pytest.FixtureRequest) -> Store:
    if kind == "memory":
        return MemoryStore()
    if kind == "folder":
        return FolderStore(request.getfixturevalue("tmp_path"))
    store: Store = request.getfixturevalue("s3_store")
    return store


@pytest.fixture(params=["memory", "folder", "s3"])
def bare_store(request: pytest.FixtureRequest) -> Store:
    return make_bare(request.param, request)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    kind, way = request.param.split("-")
    return DECORATORS[way](make_bare(kind, request))


def test_what_is_put_is_what_is_read(store: Store) -> None:
    body = bytes(range(256)) * 1024
    store.put("v1/p/default/3f/3fa0.0", body)
    assert store.get("v1/p/default/3f/3fa0.0") == body


def test_small_bodies_are_objects_too(store: Store) -> None:
    for name, body in (("v1/empty", b""), ("v1/byte", b"x")):
        store.put(name, body)
        assert store.get(name) == body
        assert store.head(name).size_bytes == len(body)
        assert store.get_range(name, 0, 5) == body
        assert store.get_suffix(name, 5) == body


def test_the_caller_owns_the_buffer_again_after_put(store: Store) -> None:
    buffer = bytearray(b"mine at first")
    store.put("v1/x", memoryview(buffer))
    buffer[:] = b"mine at last "
    assert store.get("v1/x") == b"mine at first"


def test_create_only_refuses_a_taken_name_and_changes_nothing(store: Store) -> None:
    store.put("v1/x", b"first")
    with pytest.raises(ObjectExists):
        store.put("v1/x", b"second")
    assert store.get("v1/x") == b"first"
    assert [info.name for info in store.list("")] == ["v1/x"]


def test_without_the_condition_put_replaces(store: Store) -> None:
    store.put("v1/x", b"first")
    store.put("v1/x", b"the second", create_only=False)
    assert store.get("v1/x") == b"the second"
    assert store.head("v1/x").size_bytes == 10


def test_of_several_creators_one_wins_and_the_object_is_whole(store: Store) -> None:
    bodies = [bytes([number]) * 50_000 for number in range(6)]
    gate = threading.Barrier(len(bodies))

    def create(body: bytes) -> bool:
        gate.wait()
        try:
            store.put("v1/race", body)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(len(bodies)) as pool:
        won = list(pool.map(create, bodies))
    assert won.count(True) == 1
    assert store.get("v1/race") == bodies[won.index(True)]


def test_readers_see_one_body_or_the_other_while_it_is_replaced(store: Store) -> None:
    old, new = b"o" * 300_000, b"n" * 200_000

    def replace() -> None:
        for body in [new, old] * 5:
            store.put("v1/x", body, create_only=False)

    store.put("v1/x", old)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(replace)
        while not writing.done():
            assert store.get("v1/x") in (old, new)
        writing.result()


def test_ranges_end_where_the_object_ends(store: Store) -> None:
    body = b"abcdef"
    store.put("v1/x", body)
    for offset, length in [(0, 3), (2, 3), (5, 10), (0, 6), (6, 1), (99, 1), (2, 0)]:
        assert store.get_range("v1/x", offset, length) == body[offset : offset + length]


def test_suffixes_are_the_end_or_the_whole(store: Store) -> None:
    store.put("v1/x", b"abcdef")
    assert [store.get_suffix("v1/x", length) for length in (2, 6, 7, 0)] == [b"ef", b"abcdef", b"abcdef", b""]


def test_head_tells_name_size_and_time(store: Store) -> None:
    before_us = SystemClock().now_us()
    store.put("v1/x", b"abc")
    info = store.head("v1/x")
    assert (info.name, info.size_bytes) == ("v1/x", 3)
    # S3 counts in seconds.
    assert before_us - 1_000_000 <= info.modified_us <= SystemClock().now_us() + 1_000_000


def test_every_read_of_a_missing_object_says_so(store: Store) -> None:
    store.put("v1/x", b"beside it")
    reads: list[Callable[[], object]] = [
        lambda: store.get("v1/y"),
        lambda: store.get_range("v1/y", 0, 1),
        lambda: store.get_range("v1/y", 0, 0),
        lambda: store.get_suffix("v1/y", 1),
        lambda: store.get_suffix("v1/y", 0),
        lambda: store.head("v1/y"),
        lambda: store.get("v1/folder/never/made"),
        lambda: store.get("v1"),
        lambda: store.head("v1"),
        lambda: store.get("v1/x/below"),
    ]
    for read in reads:
        with pytest.raises(ObjectMissing):
            read()


def test_delete_may_be_repeated_and_touches_nothing_else(store: Store) -> None:
    store.put("v1/a", b"a")
    store.put("v1/ab", b"ab")
    for _ in range(2):
        store.delete("v1/a")
    store.delete("v1/never/was")
    store.delete("v1/ab/below")
    assert [info.name for info in store.list("")] == ["v1/ab"]
    store.put("v1/a", b"again")
    assert store.get("v1/a") == b"again"


def test_list_is_complete_and_by_prefix(store: Store) -> None:
    names = ["v1/a-b/x", "v1/a.b", "v1/a/b/c", "v1/a/b/d", "v1/a/z", "v1/a0", "v1/ab/x", "v2/a/b", "z"]
    for name in reversed(names):
        store.put(name, name.encode())
    listed = _sorted(store, "")
    assert [(info.name, info.size_bytes) for info in listed] == [(name, len(name)) for name in names]
    assert listed[2] == store.head("v1/a/b/c")
    for prefix in ("v1/", "v1/a", "v1/a/", "v1/a/b/", "v1/a/b/c", "v1/a/b/c/", "v1/a-", "v3/", "z"):
        assert [info.name for info in _sorted(store, prefix)] == [name for name in names if name.startswith(prefix)]


def test_list_survives_deletions_while_it_runs(store: Store) -> None:
    names = [f"v1/{number // 5}/{number:03}" for number in range(15)]
    for name in names:
        store.put(name, b"x")
    seen = []
    for info in store.list("v1/"):
        seen.append(info.name)
        store.delete(info.name)
    assert sorted(seen) == names
    assert list(store.list("v1/")) == []


def _sorted(store: Store, prefix: str) -> list[ObjectInfo]:
    return sorted(store.list(prefix), key=lambda info: info.name)


HOSTILE = [
    *("", "/", "/x", "x/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "a/.hidden", ".put-1"),
    *("a\\b", "a b", "a\nb", "a\0b", "ä", "a?b", "a#b", "a%2fb", "a*", "x" * 201, "/".join(["x" * 100] * 10)),
]


def test_hostile_names_are_refused_before_anything_happens(bare_store: Store) -> None:
    calls: list[Callable[[str], object]] = [
        lambda name: bare_store.put(name, b"x"),
        bare_store.get,
        lambda name: bare_store.get_range(name, 0, 1),
        lambda name: bare_store.get_suffix(name, 1),
        bare_store.head,
        bare_store.delete,
        lambda name: bare_store.sign_put(name, 1, b"m" * 16, expires_seconds=9),
        lambda name: bare_store.sign_get(name, expires_seconds=9),
    ]
    for name in HOSTILE:
        for call in calls:
            with pytest.raises(StoreRefused):
                call(name)
    assert list(bare_store.list("")) == []


def test_hostile_prefixes_are_refused(bare_store: Store) -> None:
    for prefix in ("/", "..", "../", "a/../", "a//", ".put", "a*"):
        with pytest.raises(StoreRefused):
            list(bare_store.list(prefix))


def test_negative_ranges_are_refused(bare_store: Store) -> None:
    bare_store.put("v1/x", b"abc")
    for call in (
        lambda: bare_store.get_range("v1/x", -1, 1),
        lambda: bare_store.get_range("v1/x", 0, -1),
        lambda: bare_store.get_suffix("v1/x", -1),
        lambda: bare_store.sign_put("v1/y", -1, b"m" * 16, expires_seconds=9),
    ):
        with pytest.raises(StoreRefused):
            call()


def test_the_url_holds_no_secret_and_opens_the_same_place(s3_url: str, s3_credentials: S3Credentials) -> None:
    store = open_store(s3_url, s3_credentials)
    assert parse_location(store.url) == parse_location(s3_url)
    assert s3_credentials.secret_key not in store.url + repr(s3_credentials)


def test_pages_of_any_size_make_the_same_list(s3_url: str, s3_credentials: S3Credentials) -> None:
    location = parse_location(s3_url)
    assert isinstance(location, S3Location)
    store = S3Store(location, s3_credentials, page_size=3)
    names = [f"v1/{number % 4}/{number}" for number in range(10)]
    for name in names:
        store.put(name, b"x")
    assert sorted(info.name for info in store.list("v1/")) == sorted(names)


def test_a_missing_folder_is_told_from_a_missing_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "gone")
    for call in _reads(store):
        with pytest.raises(BucketMissing):
            call()
    with pytest.raises(BucketMissing):
        store.put("v1/x", b"x")
    assert not (tmp_path / "gone").exists()


def test_a_missing_bucket_is_told_from_a_missing_object(s3_server: SeaweedFS, s3_credentials: S3Credentials) -> None:
    for call in _reads(open_store(f"s3://gone?endpoint={s3_server.endpoint}", s3_credentials)):
        with pytest.raises(BucketMissing):
            call()


def _reads(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.get("v1/x"),
        lambda: store.get_range("v1/x", 0, 1),
        lambda: store.get_suffix("v1/x", 1),
        lambda: store.head("v1/x"),
        lambda: store.delete("v1/x"),
        lambda: list(store.list("")),
    ]
