"""How often a policy wants its points read back: the real controller and its worker process, the real command, a hook that is told."""

import json
import random
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2, policy_pb2, resources_pb2
from seawall.controller.maintenance.verify_schedule import POLICY
from seawall.controller.records.maintenance import JobKind
from seawall.controller.store.transaction import Transaction
from seawall.repository.format.layout import pack_name
from seawall.repository.store.folder import FolderStore
from support.cli_command import Cli
from support.collecting import TestedVm, awaited, in_database, report_vms, started
from support.controller_agent import enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk
from support.stored_packs import stored_packs

MIB = 1 << 20
DAY_US = 86_400 * 1_000_000
PAUSED = """
policy: nightly
repository: main
select: {all: true}
schedule: {cron: "0 3 * * *", zone: UTC}
verify: 2d
notify: {run: oncall, events: [damaged, recovered]}
paused: true
"""
TIMINGS = replace(BRISK, verify_new_seconds=0.1, verify_period_seconds=0.0, notice_seconds=0.1, rpo_look_seconds=0.1)


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def points(controller: Controller) -> list[resources_pb2.Point]:
    return list(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points)


def policy(controller: Controller) -> policy_pb2.Policy:
    return controller.policies.GetPolicy(policy_pb2.GetPolicyRequest(policy="nightly")).policy


def age(controller: Controller, by_us: int) -> None:
    """As if all that was read had been read so much earlier."""

    def closure(transaction: Transaction) -> None:
        (record,) = transaction.repositories.repositories()
        for pack in stored_packs(transaction, record.id):
            transaction.packs.save_pack(pack, replace(pack, verified_us=pack.verified_us - by_us))
        for point in transaction.points.roots(record.id):
            transaction.points.mark_checked(point.id, point.checked_us - by_us, point.read_us - by_us)

    in_database(controller, closure)


def hook(controller: Controller, log: Path) -> None:
    path = controller.config.hook_directory / "oncall"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$(cat)" >> {log}\n')
    path.chmod(0o755)


def notices(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.slow
def test_points_are_read_back_as_often_as_their_policy_says(tmp_path: Path) -> None:
    config, store, log = configured(tmp_path / "state"), FolderStore, tmp_path / "oncall.log"
    with running(config, TIMINGS) as controller:
        hook(controller, log)
        controller.add_folder(tmp_path / "bucket")
        document = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=PAUSED, source="p.yaml")
        controller.policies.ApplyPolicies(document)
        disk = ModelDisk(2 * MIB)
        disk.write(0, random.Random(1).randbytes(MIB))
        agent = enrolled(controller, "alpha")
        vm = TestedVm(agent, "00000001-1111-4111-8111-111111111111", "web", disk)
        report_vms(agent, {vm.vm_id: (vm.name, 2 * MIB)})
        first = vm.backup(controller)
        name = _data_pack(controller)
        disk.write(MIB, random.Random(2).randbytes(MIB))
        second = vm.backup(controller, "bitmap")
        until(lambda: all(point.verified and point.HasField("read_back_at") for point in points(controller)))
        policy_id = policy(controller).policy_id
        assert policy(controller).verify_late == 0
    with closing(sqlite3.connect(config.paths.database)) as database:  # as if the policy had made them
        database.execute("UPDATE restore_points SET policy_id = ?", (policy_id,))
        database.commit()

    with running(config, TIMINGS) as controller:
        age(controller, DAY_US)
        assert policy(controller).verify_late == 0
        age(controller, 2 * DAY_US)
        now_us = time.time_ns() // 1000
        until(lambda: all(now_us - point.read_back_at.ToMicroseconds() < DAY_US for point in points(controller)))
        jobs = in_database(controller, lambda transaction: transaction.jobs.jobs())
        named = [json.loads(job.request)["points"] for job in jobs if job.because == POLICY]
        assert sorted(name[2] for name in named[-1]) == sorted([first, second]) and len(named) <= 2
        assert (policy(controller).verify_seconds, policy(controller).verify_late) == (172_800, 0)

        body = store(tmp_path / "bucket").get(name)
        store(tmp_path / "bucket").delete(name)
        age(controller, 3 * DAY_US)
        until(lambda: any(point.damage for point in points(controller)))
        (told,) = until(lambda: notices(log))
        assert [(each["vm"], each["what"]) for each in told["troubles"]] == [("web", "damaged")]
        cli = Cli(tmp_path, config.operator_toml)
        listed = {row["point_id"]: row for row in cli("point", "list", "--json").json["points"]}
        assert listed[first]["damage"] and not listed[first]["verified"] and listed[first]["checked_at"]
        assert "failed" in cli("point", "list").out
        assert "verify      each point every 2 days" in cli("policy", "show", "nightly").out

        store(tmp_path / "bucket").put(name, body)
        job = started(controller, JobKind.CHECK, read_data_percent=100)
        awaited(controller, job.id, lambda found: found.state.over, 120)
        _, over = until(lambda: len(notices(log)) > 1 and notices(log))
        assert [each["vm"] for each in over["recovered"]] == ["web"]


def _data_pack(controller: Controller) -> str:
    """Its name: every later point needs it too."""

    def closure(transaction: Transaction) -> str:
        (record,) = transaction.repositories.repositories()
        (pack,) = [pack for pack in stored_packs(transaction, record.id) if not pack.meta]
        return pack_name("default", pack.id, 0)

    return in_database(controller, closure)
