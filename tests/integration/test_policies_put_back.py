"""Last night's copy of the database is put back after the policies of the night were carried out: their points are theirs, and enough."""

import random
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.api.v1 import operator_pb2, policy_pb2, resources_pb2
from seawall.controller.records.policies import Policy
from seawall.repository.clock import datetime_of
from support.collecting import in_database
from support.controller_agent import VM_NAME, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk
from support.old_database import keep, put_back
from support.shifted_clock import ShiftedClock

HOUR = 3600
OFTEN = replace(BRISK, export_seconds=0.1, export_look_seconds=0.1, export_settle_seconds=0.05)
NIGHTLY = """
policy: nightly
repository: main
select: {all: true}
schedule: {cron: "%M %H * * *", zone: UTC, spread: 0, catch_up: 20h}
rpo: 24h
"""


def in_hours(hours: float) -> ShiftedClock:
    """From now on: certificates and signed URLs of the controller are valid for the agent then."""
    return ShiftedClock(int(hours * HOUR))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def nightly(controller: Controller) -> Policy:
    policy = in_database(controller, lambda transaction: transaction.policies.policy_named("nightly"))
    assert policy is not None
    return policy


def listed(controller: Controller) -> list[resources_pb2.Point]:
    return list(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points)


def status(controller: Controller) -> operator_pb2.GetStatusResponse:
    return controller.backups.GetStatus(operator_pb2.GetStatusRequest())


@pytest.mark.parametrize("known_by", ["export", "run", "nobody"])
def test_what_was_backed_up_is_not_backed_up_again(tmp_path: Path, known_by: str) -> None:
    """Whose a point is, is known by the newest export, or by its run, which the copy holds as open. Where nobody knows it, the point is
    nobody's, as it may be one that somebody ordered; but enough for that night.
    """
    config, bucket, size = configured(tmp_path / "state"), tmp_path / "bucket", 1 << 20
    with running(config, OFTEN, clock=in_hours(0)) as controller:
        controller.add_folder(bucket)
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": size})
        in_an_hour = datetime_of(in_hours(1).now_us()).strftime(NIGHTLY)
        request = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=in_an_hour, source="p.yaml")
        controller.policies.ApplyPolicies(request)
        applied_us = nightly(controller).fired_us
    keep(config.paths.database, tmp_path / "kept.sqlite")

    disk, later = ModelDisk(size), in_hours(2)
    disk.write(0, random.Random(1).randbytes(size // 2))
    with running(config, OFTEN, clock=later) as controller:
        alpha.connect()
        alpha.hello()
        alpha.instant_us = later.now_us()
        until(lambda: nightly(controller).fired_us > applied_us)
        if known_by == "run":
            keep(config.paths.database, tmp_path / "kept.sqlite")
        point_id = alpha.backup({"vda": disk.source()}).point_id
        for reason in (
            "first",
            "second",
        ):  # the second export was begun after the first was written: the point is in it
            known = set(bucket.glob("v1/c/export/*"))
            controller.backups.HoldPoints(
                operator_pb2.HoldPointsRequest(request_id=str(uuid.uuid4()), points=[point_id], reason=reason)
            )
            until(lambda known=known: bool(set(bucket.glob("v1/c/export/*")) - known))  # type: ignore[misc]
    if known_by != "export":
        shutil.rmtree(bucket / "v1" / "c" / "export")
    put_back(config.paths.database, tmp_path / "kept.sqlite")

    with running(config, OFTEN, clock=in_hours(3)) as controller:
        until(lambda: nightly(controller).fired_us > applied_us and bool(listed(controller)))
        (point,) = listed(controller)
        until(lambda: "restore points: 1" in " ".join(status(controller).troubles))
        assert (point.point_id, point.policy) == (point_id, "" if known_by == "nobody" else "nightly")
        assert [run.run_id for run in controller.backups.ListRuns(operator_pb2.ListRunsRequest()).runs] == [point_id]
    with running(config, OFTEN, clock=in_hours(25.5)) as controller:
        until(lambda: bool(controller.backups.ListRuns(operator_pb2.ListRunsRequest(open_only=True)).runs))
        (run,) = controller.backups.ListRuns(operator_pb2.ListRunsRequest(open_only=True)).runs
        assert (run.policy, run.vm_name) == ("nightly", VM_NAME), "the next night is another one"
