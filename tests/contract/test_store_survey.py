"""`repo probe`: what is said of a store that keeps its word, over every adapter, and of each that does not; nothing is left behind."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import StoreRefused
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.port import Store
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import PROBE_PREFIX
from seawall.repository.store.s3 import S3Store
from seawall.repository.store.survey import Survey, survey
from support.lying_store import LyingStore

COMMON = {
    "conditional_put", "conditional_put_atomic", "checks_content_md5", "signed_condition", "bare_put", "lost_answer", "clock",
}  # fmt: skip


@pytest.fixture
def client() -> Iterator[PresignedClient]:
    with PresignedClient() as client:
        yield client


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seawall.repository.store.survey.LARGE_BYTES", 256 * 1024)


@dataclass
class LateClock:
    """A clock that is that far behind."""

    behind_us: int

    def now_us(self) -> int:
        return SystemClock().now_us() - self.behind_us

    def monotonic_seconds(self) -> float:
        return SystemClock().monotonic_seconds()

    def sleep_seconds(self, seconds: float) -> None:
        raise AssertionError


def survey_of(store: Store, client: PresignedClient, clock: Clock | None = None) -> Survey:
    return survey(store, client, clock or SystemClock(), store if isinstance(store, S3Store) else None)


def not_good(found: Survey) -> set[str]:
    return {answer.question for answer in found.answers if not answer.good}


def test_a_bucket_is_told_of_in_full(s3_store: Store, client: PresignedClient) -> None:
    found = survey_of(s3_store, client)
    said = {answer.question: answer.says for answer in found.answers}
    assert said.keys() == COMMON | {"versioning", "object_lock", "multipart"}
    assert not_good(found) == set()
    assert "keeps no versions" in said["versioning"] and "locks nothing" in said["object_lock"]
    assert "takes uploads in parts" in said["multipart"]
    assert [(speed.request, speed.size_bytes) for speed in found.speeds] == [
        ("PUT", 4096), ("GET", 4096), ("PUT", 262144), ("GET", 262144),
    ]  # fmt: skip
    assert all(0 < speed.median_ms <= speed.slowest_ms for speed in found.speeds)
    assert list(s3_store.list(PROBE_PREFIX)) == []


def test_a_folder_has_no_walls_and_nothing_else_against_it(tmp_path: Path, client: PresignedClient) -> None:
    store = FolderStore(tmp_path)
    found = survey_of(store, client)
    assert {answer.question for answer in found.answers} == COMMON
    assert not_good(found) == {"signed_condition"}
    assert list(store.list(PROBE_PREFIX)) == []


def test_a_store_that_overwrites_is_named_with_what_follows(s3_store: Store, client: PresignedClient) -> None:
    found = survey_of(LyingStore(s3_store, "overwrites"), client)
    assert {"conditional_put", "conditional_put_atomic"} <= not_good(found)
    (said,) = [answer.says for answer in found.answers if answer.question == "conditional_put"]
    assert "overwrites" in said and "replace a backup's objects" in said and "choose another store" in said


@pytest.mark.parametrize(("behind_us", "word"), [(600_000_000, "ahead of"), (-600_000_000, "behind")])
def test_a_clock_that_is_wrong_is_named(s3_store: Store, client: PresignedClient, behind_us: int, word: str) -> None:
    found = survey_of(s3_store, client, LateClock(behind_us))
    (said,) = [answer.says for answer in found.answers if answer.question == "clock"]
    assert "clock" in not_good(found) and f"s {word} the controller's" in said


class SilentBucket:
    """Its policy lets these keys put, read, list and remove, and ask nothing of the bucket itself."""

    def versioned(self) -> bool:
        raise StoreRefused("AccessDenied")

    def lock_period_us(self) -> int:
        raise StoreRefused("AccessDenied")

    def takes_parts(self, name: str) -> bool:
        return False


def test_keys_that_may_not_ask_of_the_bucket_hide_nothing_else(tmp_path: Path, client: PresignedClient) -> None:
    found = survey(FolderStore(tmp_path), client, SystemClock(), SilentBucket())
    said = {answer.question: answer.says for answer in found.answers}
    assert said.keys() == COMMON | {"versioning", "object_lock", "multipart"}
    assert "Unknown" in said["versioning"] and "Unknown" in said["object_lock"]


def test_what_a_probe_that_was_killed_left_goes_with_a_later_one(tmp_path: Path, client: PresignedClient) -> None:
    store = FolderStore(tmp_path)
    store.put(f"{PROBE_PREFIX}0123/4567", b"left")
    survey_of(store, client)
    assert [info.name for info in store.list(PROBE_PREFIX)] == [f"{PROBE_PREFIX}0123/4567"], "it may be another's"
    survey_of(store, client, LateClock(-2 * 86_400_000_000))
    assert list(store.list(PROBE_PREFIX)) == []
