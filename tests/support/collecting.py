"""Words for tests of collection over a running controller: jobs, deleted points, what a bucket holds, points read back."""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.controller.maintenance.jobs import MAINTENANCE, cancel_job, job, start_job
from seawall.controller.maintenance.process import MODULE
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.maintenance import Job, JobKind
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import SystemClock
from seawall.repository.reading.restore import restore_disk
from seawall.repository.store.port import Store
from support.controller_agent import ScriptedAgent
from support.controller_application import Controller
from support.memory_disks import MemorySink, ModelDisk

T = TypeVar("T")
TENANT = "default"


def in_database(controller: Controller, closure: Callable[[Transaction], T]) -> T:
    write = controller.application._database.write(closure)
    return asyncio.run_coroutine_threadsafe(write, controller.loop).result(30)


def started(controller: Controller, kind: JobKind = JobKind.COLLECT, **request: Any) -> Job:
    def closure(transaction: Transaction) -> Job:
        (record,) = transaction.repositories.repositories()
        return start_job(transaction, record.id, kind, request, SystemClock())

    begun = in_database(controller, closure)
    wake(controller)
    return begun


def wake(controller: Controller) -> None:
    controller.loop.call_soon_threadsafe(controller.application._wakes.notify, (MAINTENANCE,))


def awaited(controller: Controller, job_id: str, until: Callable[[Job], bool], seconds: float = 60) -> Job:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = in_database(controller, lambda transaction: job(transaction, job_id))
        if until(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"the job stays {found}")


def collected(controller: Controller, **request: Any) -> Job:
    """A collection that is over."""
    return awaited(controller, started(controller, **request).id, lambda found: found.state.over)


def canceled(controller: Controller, job_id: str) -> Job:
    return in_database(controller, lambda transaction: cancel_job(transaction, job_id, SystemClock().now_us()))


def deleted(controller: Controller, point_id: str) -> None:
    """By an operator, and over."""
    request = operator_pb2.DeletePointsRequest(request_id=str(uuid.uuid4()), points=[point_id])
    controller.backups.DeletePoints(request, timeout=30)
    deadline = time.monotonic() + 30
    while True:
        point = in_database(controller, lambda transaction: transaction.points.point(point_id))
        if point is not None and point.state is PointState.DELETED:
            return
        assert time.monotonic() < deadline, point
        time.sleep(0.02)


def worker_pids() -> list[int]:
    """Of the maintenance workers that this process has begun."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:"))
            command = (status.parent / "cmdline").read_bytes()
        except (OSError, StopIteration):
            continue
        if int(parent.split()[1]) == os.getpid() and MODULE.encode() in command:
            found.append(int(status.parent.name))
    return found


@dataclass
class TestedVm:
    """A VM with one disk, and what its points must hold."""

    __test__ = False

    agent: ScriptedAgent
    vm_id: str
    name: str
    disk: ModelDisk
    points: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def backup(self, controller: Controller, how: str = "full") -> str:
        run = controller.start_backup(self.vm_id)
        answer = self.agent.backup({"vda": self.disk.source()}, how)
        assert answer.point_id == run.run_id, answer
        self.points[run.run_id] = dict(self.disk.blocks)
        self.disk.forget_changes()
        return run.run_id


def report_vms(
    agent: ScriptedAgent, vms: Mapping[str, tuple[str, int]], revision: int = 1, left: Mapping[str, int] | None = None
) -> None:
    """VM id -> (name, bytes of its disk vda). `left`: VMs that migrated away -> milliseconds ago."""
    messages = [
        resources_pb2.Vm(
            vm_id=vm_id,
            name=name,
            state="running",
            disks=[
                resources_pb2.VmDisk(disk="vda", size_bytes=size, format="raw", source=f"/{name}.raw", device="disk")
            ],
        )
        for vm_id, (name, size) in vms.items()
    ]
    departures = [agent_pb2.VmDeparture(vm_id=vm_id, milliseconds_ago=ago) for vm_id, ago in (left or {}).items()]
    agent.stub.ReportInventory(
        agent_pb2.ReportInventoryRequest(
            session_id=agent.session_id, revision=revision, last=True, vms=messages, departures=departures
        )
    )


def restored(controller: Controller, agent: ScriptedAgent, point_id: str) -> dict[int, bytes]:
    """The blocks of disk vda, through a restore run of this agent."""
    spec = resources_pb2.RestoreSpec(point_id=point_id, host_id=agent.agent_id)
    controller.backups.StartRestore(operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec))
    given = agent.next_assignment()
    grant = agent.accept(given.attempt).restore
    reader = agent.reader(given.attempt, grant.lineage_id, grant.k_dedup, grant.point, grant.signing_public_key)
    manifest = reader.disk("vda")
    assert manifest is not None
    sink = MemorySink(manifest.size_bytes)
    restore_disk(reader, manifest, sink)
    done = agent_pb2.CompleteAttemptRequest(session_id=agent.session_id, attempt=given.attempt)
    agent.stub.CompleteAttempt(done)
    return sink.content()


def names(store: Store, prefix: str) -> list[str]:
    return sorted(info.name for info in store.list(prefix))
