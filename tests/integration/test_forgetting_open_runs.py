"""A database that is put back to a time when a run was open, on a bucket in which the run's point was made and deleted since.

A second point of that name would lie below the tombstone of the first, and be deleted by the next leader although it was acknowledged.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, limits_pb2, limits_pb2_grpc, operator_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.repository.format.layout import manifest_name
from support.controller_agent import VM_ID, ScriptedAgent
from support.controller_application import Controller, configured, reason_of, running
from support.deleting_points import SIZE, Bucket, backed_up, with_points
from support.memory_disks import ModelDisk
from support.old_database import keep, put_back

MOMENTS = (
    pytest.param("READY", marks=pytest.mark.slow),
    "ASSIGNED",
    pytest.param("PREPARING", marks=pytest.mark.slow),
    "PUBLISHING",
)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass(frozen=True)
class Place:
    """A controller that does not run, its bucket with one point, and its host."""

    config: ControllerConfig
    bucket: Bucket
    agent: ScriptedAgent
    first: str


@pytest.fixture
def place(tmp_path: Path) -> Place:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        agent, (first,) = with_points(controller, tmp_path / "bucket", count=1)
        prepared = Place(config, Bucket(tmp_path / "bucket"), agent, first)
    return prepared


class Night:
    """The database is copied when its `moment` is reached, and put back while no controller runs."""

    def __init__(self, database: Path, kept: Path, moment: str) -> None:
        self._database = database
        self._kept = kept
        self._moment = moment

    def reached(self, moment: str) -> None:
        if moment == self._moment:
            keep(self._database, self._kept)

    def put_back(self) -> None:
        put_back(self._database, self._kept)


def put_in_service(controller: Controller, service: limits_pb2.HostService.ValueType) -> None:
    stub = limits_pb2_grpc.LimitServiceStub(controller.channel)
    stub.SetHost(limits_pb2.SetHostRequest(request_id=str(uuid.uuid4()), host="alpha", service=service))


def listed(controller: Controller) -> list[str]:
    return [point.point_id for point in controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points]


def made_and_deleted(
    place: Place, controller: Controller, night: Night
) -> tuple[str, agent_pb2.CompleteAttemptRequest]:
    """(a run whose point was published, then deleted; its hand-in)."""
    agent, disk = place.agent, ModelDisk(SIZE)
    disk.write(0, b"the second point" * 64)
    put_in_service(controller, limits_pb2.HOST_SERVICE_CORDONED)
    run_id = controller.start_backup("db-1").run_id
    night.reached("READY")
    put_in_service(controller, limits_pb2.HOST_SERVICE_IN_SERVICE)
    attempt = agent.next_assignment().attempt
    night.reached("ASSIGNED")
    grant = agent.accept(attempt).backup
    request = agent.hand_in(attempt, agent.write(attempt, grant, {"vda": disk.source()}))
    night.reached("PREPARING")
    assert agent.stub.CompleteAttempt(request).point_id == run_id
    controller.backups.DeletePoints(operator_pb2.DeletePointsRequest(request_id=str(uuid.uuid4()), points=[run_id]))
    return run_id, request


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_whose_point_was_made_and_deleted_in_the_time_that_was_lost_is_over(
    place: Place, tmp_path: Path, moment: str
) -> None:
    night = Night(place.config.paths.database, tmp_path / "kept.sqlite", moment)

    def step(reached: str) -> None:
        if reached == "intent":
            night.reached("PUBLISHING")

    with running(place.config, on_publish_step=step) as controller:
        place.agent.connect()
        place.agent.hello()
        run_id, request = made_and_deleted(place, controller, night)
        until(lambda: place.bucket.of(run_id) == "t")
    # A PUT of its manifest that was under way for long: still no point.
    place.bucket.store.put(manifest_name("default", VM_ID, run_id), b"late")
    night.put_back()

    with running(place.config) as controller:
        over = controller.watch(run_id, lambda run: run.state == resources_pb2.RUN_STATE_FAILED)
        assert over.failure.reason == "POINT_WAS_DELETED"
        assert over.failure.next_step.startswith("Back the VM up again")
        assert all(each.state == resources_pb2.ATTEMPT_STATE_FAILED for each in over.attempts)
        place.agent.connect()
        with pytest.raises(grpc.RpcError) as late:
            place.agent.stub.CompleteAttempt(request)
        assert reason_of(late.value) in ("FENCED", "ATTEMPT_UNKNOWN", "POINT_WAS_DELETED")
        put_in_service(controller, limits_pb2.HOST_SERVICE_IN_SERVICE)
        assert place.agent.hello(running=[request.attempt]) == [request.attempt.attempt_id], "its worker is to clean up"
        again = backed_up(controller, place.agent, 2)
        assert again != run_id
        until(lambda: place.bucket.of(run_id) == "t")
    with running(place.config) as controller:
        put_in_service(controller, limits_pb2.HOST_SERVICE_IN_SERVICE)
        assert listed(controller) == [again, place.first], "a later leader finds nothing to delete"
    assert place.bucket.of(again) == "mr"
