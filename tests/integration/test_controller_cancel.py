"""`seawall run cancel` at every step of a run, and a VM that is seen on another host: over real gRPC with scripted agents."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import grpc
import pytest

from seawall.api.v1 import resources_pb2
from seawall.repository.clock import Clock
from seawall.repository.errors import StoreUnavailable
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.controller_agent import enrolled
from support.controller_application import BRISK, reason_of
from support.run_scene import FRAIL, SIZE, a_scene

READY, ACTIVE, CANCELED = (
    resources_pb2.RUN_STATE_READY,
    resources_pb2.RUN_STATE_ACTIVE,
    resources_pb2.RUN_STATE_CANCELED,
)
SLOW = replace(BRISK, retry_seconds=3600.0, expired_backoff_seconds=3600.0)


class WithoutManifests:
    """A store that is away whenever a manifest is to be put."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, name: str, body: bytes, *, create_only: bool = True) -> None:
        if name.startswith("v1/m/"):
            raise StoreUnavailable("503")
        self._inner.put(name, body, create_only=create_only)


def without_manifests(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
    return cast("Store", WithoutManifests(open_store(url, credentials, clock)))


def test_while_it_waits_for_a_place(tmp_path: Path) -> None:
    with a_scene(tmp_path) as scene:
        scene.alpha.next_assignment()
        scene.cancel()
        assert scene.operator("host", "cordon", "alpha").code == 0
        scene.run_id = scene.controller.start_backup("db-1").run_id
        scene.watch(lambda run: "cordoned" in run.blocked_on)
        scene.cancel()
        assert not scene.canceled().attempts


def test_before_anybody_took_it(tmp_path: Path) -> None:
    """ASSIGNED: over at once; the agent that comes for it is told so."""
    with a_scene(tmp_path) as scene:
        attempt = scene.alpha.next_assignment().attempt
        scene.cancel()
        over = scene.canceled()
        assert over.attempts[0].state == resources_pb2.ATTEMPT_STATE_CANCELED
        assert scene.alpha.poll(scene.alpha.generation - 1).assignments == []
        assert list(scene.report(attempt).unknown_attempt_ids) == [attempt.attempt_id]


@pytest.mark.parametrize(
    "transferring", [pytest.param(False, id="PREPARING", marks=pytest.mark.slow), pytest.param(True, id="TRANSFERRING")]
)
def test_while_its_host_works_on_it(tmp_path: Path, transferring: bool) -> None:
    with a_scene(tmp_path) as scene:
        attempt = scene.accepted()
        if transferring:
            scene.report(attempt)
        scene.cancel()
        assert scene.run().state == ACTIVE and scene.run().cancel_requested
        assert list(scene.report(attempt, 2).cancel_attempt_ids) == [attempt.attempt_id]
        scene.stop(attempt)
        scene.canceled()


def test_while_its_host_is_lost_and_does_not_come_back(tmp_path: Path) -> None:
    with a_scene(tmp_path, FRAIL) as scene:
        scene.accepted()
        scene.watch(lambda run: run.attempts[0].state == resources_pb2.ATTEMPT_STATE_LOST)
        scene.cancel()
        over = scene.canceled()
        assert over.attempts[0].state == resources_pb2.ATTEMPT_STATE_ABANDONED
        assert over.attempts[0].failure.reason == "HOST_LOST"


@pytest.mark.slow
def test_while_its_host_is_lost_and_comes_back(tmp_path: Path) -> None:
    """The same attempt, which is told to stop."""
    with a_scene(tmp_path, replace(FRAIL, reattach_grace_seconds=600.0)) as scene:
        attempt = scene.accepted()
        scene.watch(lambda run: run.attempts[0].state == resources_pb2.ATTEMPT_STATE_LOST)
        scene.cancel()
        assert list(scene.report(attempt).cancel_attempt_ids) == [attempt.attempt_id]
        scene.stop(attempt)
        assert len(scene.canceled().attempts) == 1


def test_while_it_waits_to_be_tried_again(tmp_path: Path) -> None:
    with a_scene(tmp_path, SLOW) as scene:
        attempt = scene.accepted()
        transient = resources_pb2.FAILURE_KIND_TRANSIENT
        scene.alpha.fail(attempt, resources_pb2.Failure(reason="STORE_UNAVAILABLE", message="503", kind=transient))
        assert scene.watch(lambda run: run.state == READY).blocked_on.startswith("tries again in")
        scene.cancel()
        scene.canceled()


@pytest.mark.slow
def test_while_it_is_published(tmp_path: Path) -> None:
    """The store is away: it may have the point already, so it is waited for a while; then the run is over, and says so."""
    with a_scene(tmp_path, replace(BRISK, cancel_publishing_seconds=1.0), without_manifests) as scene:
        attempt = scene.alpha.next_assignment().attempt
        request = scene.written(attempt)
        with pytest.raises(grpc.RpcError) as caught:
            scene.alpha.stub.CompleteAttempt(request)
        assert reason_of(caught.value) == "STORE_UNAVAILABLE"
        assert scene.run().attempts[0].state == resources_pb2.ATTEMPT_STATE_PUBLISHING
        scene.cancel()
        over = scene.watch(lambda run: run.state == resources_pb2.RUN_STATE_FAILED)
        assert over.failure.reason == "PUBLISH_TIMEOUT" and over.failure.next_step
        assert over.attempts[0].state == resources_pb2.ATTEMPT_STATE_FAILED


def test_a_vm_that_migrates_in_mid_run_is_backed_up_where_it_is_now(tmp_path: Path) -> None:
    """Its worker sees it go: the run is queued again, that does not count as a try, and there is one current attempt."""
    with a_scene(tmp_path) as scene:
        beta = enrolled(scene.controller, "beta")
        attempt = scene.accepted()
        scene.alpha.inventory({}, revision=2)
        beta.inventory({"vda": SIZE})
        moved = resources_pb2.Failure(
            reason="VM_MOVED", message="it runs elsewhere", kind=resources_pb2.FAILURE_KIND_CONFLICT
        )
        scene.alpha.fail(attempt, moved)
        again = beta.next_assignment().attempt
        run = scene.watch(lambda each: len(each.attempts) == 2)
        assert [each.failure.reason for each in run.attempts] == ["VM_MOVED", ""]
        assert run.attempts[1].attempt_id == again.attempt_id
        assert list(scene.report(attempt).unknown_attempt_ids) == [attempt.attempt_id]
