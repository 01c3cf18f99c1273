"""Many writers into one repository while it is collected and checked. What was stored twice, and whether every point restores."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seawall.api.v1 import operator_pb2, resources_pb2
from support.controller_process import Served, served

from .bound import Doubled
from .hosts import Machine, Sizes, change_disk, joined_hosts, made_machines
from .stored import Stored
from .workers import most_workers

PATIENCE_SECONDS = 1500
SUCCEEDED = (resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS)
OVER = (*SUCCEEDED, resources_pb2.RUN_STATE_FAILED, resources_pb2.RUN_STATE_CANCELED)


@dataclass(frozen=True)
class Plan:
    """`hosts` times `each` VMs write at once."""

    hosts: int
    each: int
    sizes: Sizes
    chunk_nominal_bytes: int

    @property
    def writers(self) -> int:
        return self.hosts * self.each


@dataclass
class Outcome:
    """`waves`: what lies in the repository after each. `wrong`: points that do not restore to what their disk was."""

    writers: int
    workers_at_once: int = 0
    waves: list[Doubled] = field(default_factory=list)
    points: int = 0
    wrong: list[str] = field(default_factory=list)
    collections: int = 0
    checks: int = 0
    findings: int = 0
    jobs_failed: list[str] = field(default_factory=list)
    clones_stored_bytes: int = 0
    """What two more VMs with data that is there stored."""

    def as_json(self) -> dict[str, Any]:
        waves = [
            asdict(wave) | {"twice_bytes": wave.twice_bytes, "violations": len(wave.violations)} for wave in self.waves
        ]
        return asdict(self) | {"waves": waves}


def run(root: Path, plan: Plan) -> Outcome:
    """Raises AssertionError when a run or a job does not end as it must."""
    with served(root) as controller:
        return asyncio.run(_run(root, plan, controller))


async def _run(root: Path, plan: Plan, controller: Served) -> Outcome:
    outcome, truth = Outcome(plan.writers), dict[str, bytes]()
    await asyncio.to_thread(controller.add_folder, root / "repository", plan.chunk_nominal_bytes)
    machines = made_machines(root, plan.hosts, plan.each, plan.sizes)
    writing = [machine for mine in machines for machine in mine]
    clones = [
        Machine(1000 + number, mine[0].folder.parent / _clone_id(number)) for number, mine in enumerate(machines[:2])
    ]
    for number, clone in enumerate(clones):
        shutil.copytree(writing[0].folder, clone.folder)
        machines[number].append(clone)
    stored = Stored(root / "repository", controller.state)
    async with joined_hosts(controller, root, machines):
        upkeep = Upkeep(controller, outcome)
        upkeep.start()
        try:
            first = await _wave(controller, writing, truth, outcome)
            outcome.waves.append(await asyncio.to_thread(stored.doubled))
            for machine in writing:
                change_disk(machine, plan.sizes, seed=7)
            second = asyncio.create_task(_wave(controller, writing, truth, outcome))
            await _delete(controller, first[1::2], truth)
            await second
        finally:
            await asyncio.to_thread(upkeep.stop)
        outcome.waves.append(await asyncio.to_thread(stored.doubled))
        await _clones(controller, clones, writing[0], truth, outcome, stored)
    for point in stored.points():
        outcome.points += 1
        if point.point_id not in truth or stored.image(point) != truth[point.point_id]:
            outcome.wrong.append(point.point_id)
    outcome.wrong += sorted(truth.keys() - {point.point_id for point in stored.points()})
    return outcome


async def _wave(
    controller: Served, machines: Sequence[Machine], truth: dict[str, bytes], outcome: Outcome
) -> list[str]:
    """All at once: none reads on before all of them transfer. Ids of the points, in the machines' order."""
    for machine in machines:
        machine.hold.touch()
    runs = [await asyncio.to_thread(_start, controller, machine) for machine in machines]
    await asyncio.gather(*(asyncio.to_thread(_until, controller, run, _transfers) for run in runs))
    outcome.workers_at_once = max(outcome.workers_at_once, most_workers())
    for machine in machines:
        machine.hold.unlink()
    await asyncio.gather(*(asyncio.to_thread(_until, controller, run, _is_over) for run in runs))
    for machine, run in zip(machines, runs, strict=True):
        ended = await asyncio.to_thread(controller.backups.GetRun, operator_pb2.GetRunRequest(run=run))
        assert ended.run.state in SUCCEEDED, ended
        truth[run] = machine.image.read_bytes()
    return runs


async def _clones(
    controller: Served,
    clones: Sequence[Machine],
    source: Machine,
    truth: dict[str, bytes],
    outcome: Outcome,
    stored: Stored,
) -> None:
    """All is verified by now: whoever has the same data, on whatever host, stores none of it again."""
    await asyncio.to_thread(controller.job, resources_pb2.JOB_KIND_CHECK, read_data_percent=100)
    before = await asyncio.to_thread(stored.doubled)
    for clone in clones:
        shutil.copy(source.image, clone.image)
    await _wave(controller, clones, truth, outcome)
    after = await asyncio.to_thread(stored.doubled)
    outcome.clones_stored_bytes = after.stored_bytes - before.stored_bytes
    outcome.waves.append(after)


class Upkeep:
    """Collections and checks, one after another, in threads of their own, until it is stopped."""

    def __init__(self, controller: Served, outcome: Outcome) -> None:
        self._controller, self._outcome = controller, outcome
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(work,)) for work in (self._collect, self._check)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, work: Callable[[], None]) -> None:
        while not self._over.is_set():
            work()

    def _collect(self) -> None:
        job = self._controller.job(resources_pb2.JOB_KIND_COLLECT)
        self._outcome.collections += job.state == resources_pb2.JOB_STATE_SUCCEEDED
        self._failed(job)

    def _check(self) -> None:
        job = self._controller.job(resources_pb2.JOB_KIND_CHECK, read_data_percent=50)
        self._outcome.checks += job.state == resources_pb2.JOB_STATE_SUCCEEDED
        self._outcome.findings += len(job.result.findings)
        self._failed(job)

    def _failed(self, job: resources_pb2.Job) -> None:
        if job.state != resources_pb2.JOB_STATE_SUCCEEDED:
            self._outcome.jobs_failed.append(f"{job.kind}: {job.failure}")


def _start(controller: Served, machine: Machine) -> str:
    request = operator_pb2.StartBackupRequest(
        request_id=f"{machine.id}-{machine.image.stat().st_mtime_ns}", vms=[machine.name]
    )
    return controller.backups.StartBackup(request, timeout=60).runs[0].run_id


def _until(controller: Served, run_id: str, fits: Callable[[resources_pb2.Run], bool]) -> None:
    stream = controller.backups.WatchRuns(operator_pb2.WatchRunsRequest(runs=[run_id]), timeout=PATIENCE_SECONDS)
    for answer in stream:
        if fits(answer.run):
            return  # and with its last reference the stream is canceled
    raise AssertionError(f"run {run_id} ended before that")


def _transfers(run: resources_pb2.Run) -> bool:
    assert run.state not in OVER, run
    return bool(run.attempts) and run.attempts[-1].state == resources_pb2.ATTEMPT_STATE_TRANSFERRING


def _is_over(run: resources_pb2.Run) -> bool:
    return run.state in OVER


async def _delete(controller: Served, points: Sequence[str], truth: dict[str, bytes]) -> None:
    """By an operator; one that a backup uses as its parent stays."""
    for point in points:
        request = operator_pb2.DeletePointsRequest(request_id=point, points=[point])
        try:
            await asyncio.to_thread(controller.backups.DeletePoints, request, timeout=60)
        except Exception as error:
            assert "POINT_PINNED" in repr(error) or "in use" in repr(error), error
            continue
        del truth[point]


def _clone_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{0xC10000 + number:012d}"
