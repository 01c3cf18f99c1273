"""A leader's number is above those of all open marks, also where the names of leaders are gone from the bucket."""

import random
import shutil
import time
from pathlib import Path

from seawall.api.v1 import operator_pb2
from seawall.repository.forgetting.standing import open_numbers, read_standing
from seawall.repository.format.root_object import open_manifest
from seawall.repository.repository import read_config
from seawall.repository.store.folder import FolderStore
from support.controller_agent import VM_NAME, enrolled
from support.controller_application import Controller, configured, running
from support.memory_disks import ModelDisk

SIZE = 1 << 20


def backed_up(controller: Controller, host: str) -> str:
    alpha = enrolled(controller, host)
    alpha.inventory({"vda": SIZE})
    disk = ModelDisk(SIZE)
    disk.write(0, random.Random(1).randbytes(SIZE))
    controller.start_backup(VM_NAME)
    return alpha.backup({"vda": disk.source()}).point_id


def test_what_a_leader_on_an_old_database_publishes_counts(tmp_path: Path) -> None:
    """Empty objects were not copied with the rest of the bucket, and an old database was put back: its next number is a low one."""
    state, bucket = tmp_path / "state", tmp_path / "bucket"
    config = configured(state)
    with running(config) as controller:
        controller.add_folder(bucket)
    shutil.copytree(state, tmp_path / "old")
    with running(config) as controller:
        backed_up(controller, "alpha")
    store = FolderStore(bucket)
    for _ in range(2):
        before = open_numbers(store)[0]
        with running(config):
            deadline = time.monotonic() + 20
            while open_numbers(store)[0] <= before:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    last = open_numbers(store)[0][0]
    for name in (bucket / "v1/c/epoch").iterdir():
        name.unlink()
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "old", state)

    with running(config) as controller:
        point_id = backed_up(controller, "another")
        (vm_id,) = {
            point.vm_id
            for point in controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
            if point.point_id == point_id
        }
    read = read_config(store)
    statement, _ = open_manifest((bucket / "v1/m/default" / vm_id / point_id).read_bytes(), read.signing_public_key)
    assert statement.leader_epoch is not None and statement.leader_epoch > last
    assert read_standing(store, read).manifest_counts(statement), "it was acknowledged"
