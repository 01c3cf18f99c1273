"""A worker that was cut off hands in again while the controller still reads what it handed in: that is read once, and answered to both."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import pytest

from seawall.api.v1 import agent_pb2
from seawall.repository.clock import Clock
from seawall.repository.errors import StoreRefused
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.controller_application import reason_of
from support.run_scene import Scene, a_scene

PATIENCE_SECONDS = 30.0


class SlowStore(FolderStore):
    """Roots that were handed in are read when they may be; `refuses`: never."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[str] = []
        self.reading, self.may_read = threading.Event(), threading.Event()
        self.refuses = False

    def get(self, name: str) -> bytes:
        if "/root-" not in name:
            return super().get(name)
        self.reads.append(name)
        self.reading.set()
        assert self.may_read.wait(PATIENCE_SECONDS)
        if self.refuses:
            raise StoreRefused("no access just now")
        return super().get(name)


@dataclass
class Handing:
    """Everything is written; the first CompleteAttempt is under way, its root being read."""

    scene: Scene
    store: SlowStore
    request: agent_pb2.CompleteAttemptRequest
    pool: ThreadPoolExecutor
    first: "Future[agent_pb2.CompleteAttemptResponse]"

    def again(self, timeout: float = PATIENCE_SECONDS) -> "Future[agent_pb2.CompleteAttemptResponse]":
        return self.pool.submit(self.scene.alpha.stub.CompleteAttempt, self.request, timeout=timeout)


@contextmanager
def handing_in(place: Path, timeout: float) -> Iterator[Handing]:
    store = SlowStore(place / "bucket")

    def opened(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        return store

    with a_scene(place, opened=opened) as scene, ThreadPoolExecutor(4) as pool:
        request = scene.written(scene.alpha.next_assignment().attempt)
        first = pool.submit(scene.alpha.stub.CompleteAttempt, request, timeout=timeout)
        try:
            assert store.reading.wait(PATIENCE_SECONDS)
            yield Handing(scene, store, request, pool, first)
        finally:
            store.may_read.set()


def status_of(call: "Future[agent_pb2.CompleteAttemptResponse]") -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call.result(PATIENCE_SECONDS)
    return cast("grpc.Call", caught.value).code()


def test_what_was_handed_in_is_read_once_though_its_worker_hung_up(tmp_path: Path) -> None:
    with handing_in(tmp_path, timeout=0.5) as handing:
        assert status_of(handing.first) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert status_of(handing.again(0.5)) is grpc.StatusCode.DEADLINE_EXCEEDED, "its own deadline holds"
        third = handing.again()
        handing.store.may_read.set()
        assert third.result(PATIENCE_SECONDS).point_id == handing.scene.run_id
        assert len(handing.store.reads) == 1
        assert handing.again().result(PATIENCE_SECONDS).point_id == handing.scene.run_id
        assert len(handing.store.reads) == 1


def test_another_hand_in_of_the_attempt_is_looked_at_by_itself(tmp_path: Path) -> None:
    with handing_in(tmp_path, timeout=PATIENCE_SECONDS) as handing:
        other = agent_pb2.CompleteAttemptRequest()
        other.CopyFrom(handing.request)
        other.root_hash = bytes(32)
        with pytest.raises(grpc.RpcError) as caught:
            handing.scene.alpha.stub.CompleteAttempt(other, timeout=PATIENCE_SECONDS)
        assert reason_of(caught.value) == "BAD_ROOT"
        handing.store.may_read.set()
        assert handing.first.result(PATIENCE_SECONDS).point_id == handing.scene.run_id


def test_a_run_that_is_cancelled_meanwhile_is_refused_to_both(tmp_path: Path) -> None:
    with handing_in(tmp_path, timeout=PATIENCE_SECONDS) as handing:
        handing.scene.cancel()
        again = handing.again()
        handing.store.may_read.set()
        for call in (handing.first, again):
            with pytest.raises(grpc.RpcError) as caught:
                call.result(PATIENCE_SECONDS)
            assert reason_of(caught.value) == "CANCELED"


def test_a_store_that_refused_is_asked_again_afterwards(tmp_path: Path) -> None:
    with handing_in(tmp_path, timeout=0.5) as handing:
        assert status_of(handing.first) is grpc.StatusCode.DEADLINE_EXCEEDED
        handing.store.refuses = True
        second = handing.again()
        handing.store.may_read.set()
        assert status_of(second) is grpc.StatusCode.FAILED_PRECONDITION
        handing.store.refuses = False
        assert handing.again().result(PATIENCE_SECONDS).point_id == handing.scene.run_id
