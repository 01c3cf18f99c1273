"""A host that cannot reach its controller for a while: it is shown so, its data keeps flowing, nothing is published past the deadline."""

from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import resources_pb2
from support.controller_application import reason_of
from support.run_scene import FRAIL, a_scene

LOST, TRANSFERRING = resources_pb2.ATTEMPT_STATE_LOST, resources_pb2.ATTEMPT_STATE_TRANSFERRING


def test_a_host_that_comes_back_in_time_goes_on_with_the_same_attempt(tmp_path: Path) -> None:
    with a_scene(tmp_path, replace(FRAIL, reattach_grace_seconds=600.0)) as scene:
        attempt = scene.alpha.next_assignment().attempt
        request = scene.written(attempt)  # its URLs need no controller
        scene.report(attempt)
        scene.watch(lambda run: run.attempts[0].state == LOST)
        (host,) = scene.operator("host", "list", "--json").json["hosts"]
        assert not host["online"]
        assert scene.run().state == resources_pb2.RUN_STATE_ACTIVE, "nothing starts elsewhere"
        scene.report(attempt, 2)
        scene.watch(lambda run: run.attempts[0].state == TRANSFERRING)
        assert scene.alpha.stub.CompleteAttempt(request).point_id == scene.run_id
        assert len(scene.run().attempts) == 1


def test_a_host_that_comes_back_too_late_publishes_nothing(tmp_path: Path) -> None:
    with a_scene(tmp_path, FRAIL) as scene:
        attempt = scene.alpha.next_assignment().attempt
        request = scene.written(attempt)
        over = scene.watch(lambda run: bool(run.attempts[0].failure.reason))
        assert over.attempts[0].failure.reason == "HOST_LOST"
        with pytest.raises(grpc.RpcError) as caught:
            scene.alpha.stub.CompleteAttempt(request)
        assert reason_of(caught.value) == "FENCED"
        assert not list((tmp_path / "bucket" / "v1").glob("m/**/*.*"))
        assert list(scene.report(attempt).unknown_attempt_ids) == [attempt.attempt_id]
