"""A manifest that is gone from the bucket is noticed when a controller begins to lead, and its point is no protection any more."""

import random
import time
from pathlib import Path

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.repository.format.layout import manifest_name
from support.collecting import in_database
from support.controller_agent import VM_NAME, enrolled
from support.controller_application import Controller, configured, running
from support.memory_disks import ModelDisk

SIZE = 1 << 20


def verified(controller: Controller, point_id: str) -> int:
    point = in_database(controller, lambda transaction: transaction.points.point(point_id))
    assert point is not None
    return point.verified_us


def two_points(controller: Controller) -> list[resources_pb2.Point]:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    for seed in (1, 2):
        disk = ModelDisk(SIZE)
        disk.write(0, random.Random(seed).randbytes(SIZE))
        controller.start_backup(VM_NAME)
        alpha.backup({"vda": disk.source()})
    return list(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points)


def test_a_point_without_its_manifest_is_not_called_verified(tmp_path: Path) -> None:
    config, bucket = configured(tmp_path / "state"), tmp_path / "bucket"
    with running(config) as controller:
        controller.add_folder(bucket)
        lost, kept = two_points(controller)
    (bucket / manifest_name("default", lost.vm_id, lost.point_id)).unlink()
    with running(config) as controller:
        deadline = time.monotonic() + 30
        while verified(controller, lost.point_id) >= 0:
            assert time.monotonic() < deadline, "nobody missed it"
            time.sleep(0.05)
        assert verified(controller, kept.point_id) >= 0
        assert len(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points) == 2, "nothing is deleted"
