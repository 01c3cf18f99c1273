"""Seawall as its users run it: the public command line on the controller's machine, agent and libvirt on the host."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.answers import Point, parse_run
from deploy.lab.laboratory import OPERATOR_FILE, seawall_command
from deploy.lab.waiting import LabFailed, wait_for

from .fleet import HOST, Fleet
from .measured import RESTORE, SEAWALL, Row
from .offline_vm import DISK, OfflineVm
from .places import OUT
from .processes import children, cpu_seconds, of_namespace, times_of
from .targets import Difference, Target
from .timing import Timed, settle, timed
from .watching import MemoryWatch

_LIBVIRT = ("libvirtd", "virtlogd", "/usr/sbin/libvirtd", "/usr/sbin/virtlogd")


@dataclass(frozen=True)
class _Cpu:
    """CPU seconds until now of the parts that are there all the time."""

    controller: float
    agent: float
    qemu: float
    libvirt: float

    def since(self, before: "_Cpu", cli: float) -> dict[str, float]:
        return {
            "cli": cli,
            "controller": self.controller - before.controller,
            "agent": self.agent - before.agent,
            "qemu": self.qemu - before.qemu,
            "libvirt": self.libvirt - before.libvirt,
        }


class Seawall:
    """One repository of the fleet's controller."""

    name = SEAWALL

    def __init__(self, fleet: Fleet, repository: str, target: Target, target_name: str) -> None:
        self._fleet = fleet
        self._repository = repository
        self._target = target
        self._target_name = target_name
        self.points: dict[str, Point] = {}

    def make_repository(self, url: str) -> None:
        lab, store = self._fleet.lab, self._fleet.store
        place = [url, "--recovery-key", f"/etc/seawall/recovery-key-{self._repository}"]
        if url.startswith("s3://"):
            place += ["--endpoint", store.endpoint]
        lab.seawall("repo", "add", self._repository, *place, env=store.keys)

    def backup(self, case: str, round_number: int, vm: OfflineVm, *, warm: bool = True) -> Row:
        """The VM has its disk already."""
        settle(vm.disk if warm else None)
        words = ["backup", vm.name, "--repo", self._repository, "--freeze", "never", "--wait", "--json"]
        row, done = self._timed(case, round_number, words)
        self.points[case] = self._fleet.lab.point_of(point_of_run(done))
        return row

    def restore(self, case: str, round_number: int) -> tuple[Row, Path]:
        """The disk of a case's point as a file in an empty folder. Also where that is."""
        folder = OUT / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        settle()
        point = self.points[case].point_id
        words = ["restore", point, "--to", HOST, "--disk", DISK, "--directory", str(folder), "--wait", "--json"]
        row, done = self._timed(RESTORE, round_number, words)
        point_of_run(done)
        found = [path for path in folder.iterdir() if path.is_file()]
        if len(found) != 1:
            raise LabFailed(f"the restore left {[path.name for path in found]}, not one file")
        return row, found[0]

    def _timed(self, case: str, round_number: int, words: list[str]) -> tuple[Row, Timed]:
        agent = self._fleet.agent.process.pid
        before, cpu_before = self._target.before(), self._cpu()
        with MemoryWatch(self._services, agent) as watch:
            done = timed(self._fleet.lab.hub, [seawall_command(), *words], {"SEAWALL_CONFIG": OPERATOR_FILE})
        wait_for("the worker to be gone", lambda: not children(agent), 30, self._fleet.lab.logs)
        change = self._target.since(before)
        cpu_parts = self._cpu().since(cpu_before, done.cpu_seconds)
        return self._row(case, round_number, done, change, cpu_parts, watch), done

    def _row(
        self,
        case: str,
        round_number: int,
        done: Timed,
        change: Difference,
        cpu_parts: dict[str, float],
        watch: MemoryWatch,
    ) -> Row:
        return Row(
            tool=self.name,
            target=self._target_name,
            case=case,
            round=round_number,
            wall_seconds=done.wall_seconds,
            cpu_seconds=sum(cpu_parts.values()),
            peak_mib=watch.peak_mib + done.peak_mib,
            stored_bytes=change.stored_bytes,
            store_cpu_seconds=change.store_cpu_seconds,
            requests=change.requests,
            cpu_parts=cpu_parts,
            worker_peak_mib=watch.worker_peak_mib,
        )

    def _services(self) -> list[int]:
        return [self._fleet.controller.process.pid, self._fleet.agent.process.pid]

    def _cpu(self) -> _Cpu:
        """The agent's includes its workers and whatever these left to the host's process 1."""
        processes = of_namespace(self._fleet.host.namespace_ids()["pid"])
        qemu = cpu_seconds(processes, lambda command: command.startswith("/usr/bin/qemu-system"))
        libvirt = cpu_seconds(processes, lambda command: command.startswith(_LIBVIRT))
        everything = cpu_seconds(processes, lambda command: True)
        controller = times_of(self._fleet.controller.process.pid)
        if controller is None:
            raise LabFailed(f"the controller is gone\n{self._fleet.lab.logs()}")
        return _Cpu(controller.cpu_seconds, everything - qemu - libvirt, qemu, libvirt)


def point_of_run(done: Timed) -> str:
    """The point of a run that succeeded. Raises LabFailed for any other."""
    run = parse_run(json.loads(done.output))
    if not run.succeeded:
        raise LabFailed(f"the run {run.state}: {run.failure}")
    return run.point_id
