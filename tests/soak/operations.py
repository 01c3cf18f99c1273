"""Asks Seawall for what a step says, waits for its end, and notes down what came of it. Everything goes through the public command line."""

import time
from dataclasses import dataclass, field, replace

from deploy.lab.guest_vm import IMAGES, LOGS
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.waiting import LabFailed, wait_for

from .consoles import Consoles
from .evidence import Known, RunLook
from .plan_words import Operation, OperationKind
from .points import Made, judge_files
from .soak_vm import SoakVm
from .stage import END_SECONDS, REPOSITORIES, Stage

RESTORED_BOOT_SECONDS = 240.0
JOB_SECONDS = 180.0


@dataclass
class Notes:
    """Of a round, growing."""

    runs: list[RunLook] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def points_of(self, vm: str) -> list[Made]:
        """Oldest first; those that were not deleted."""
        gone = {run.point_id for run in self.runs if run.deleted}
        return [one for one in self.made if one.vm == vm and one.point_id not in gone]

    def forget(self, point_id: str) -> None:
        self.runs = [replace(run, deleted=True) if run.point_id == point_id else run for run in self.runs]


@dataclass
class Operations:
    """Of one round."""

    stage: Stage
    vms: list[SoakVm]
    consoles: Consoles
    notes: Notes = field(default_factory=Notes)

    def begin(self, operation: Operation) -> "Ordered":
        """Order it. What the guests have written by now must be in its points."""
        vm, words = self.vms[operation.vm], ["--repo", REPOSITORIES[operation.repository]]
        kind = operation.kind
        if kind is OperationKind.RESTORE:
            return self._begin_restore(operation, vm)
        if kind is OperationKind.DELETE:
            return self._begin_delete(operation, vm)
        asked = self.vms if kind is OperationKind.TOGETHER else [vm]
        words += (
            ["--together", "--freeze", "require"] if kind is OperationKind.TOGETHER else ["--freeze", operation.freeze]
        )
        known = {one.name: one.known() for one in asked}
        names = [one.name for one in asked]
        runs = self.stage.order(names, "backup", *names, *words)
        return Ordered(operation, runs, known)

    def _begin_restore(self, operation: Operation, vm: SoakVm) -> "Ordered":
        points = self.notes.points_of(vm.name)
        if not points:
            return Ordered(operation, [], {})
        chosen = points[int(operation.choice * len(points))]
        name = f"{vm.name}-restored{len(self.notes.runs)}"
        place = f"{IMAGES}/{name}"
        words = ["restore", chosen.point_id, "--to", operation.to, "--as", name, "--directory", place]
        self.stage.lab.hosts[operation.to].outside(place).mkdir()
        return Ordered(operation, self.stage.order([vm.name], *words), {vm.name: chosen.known}, name, chosen)

    def _begin_delete(self, operation: Operation, vm: SoakVm) -> "Ordered":
        points = self.notes.points_of(vm.name)
        if len(points) > 1:
            chosen = points[int(operation.choice * (len(points) - 1))]
            wait_for(
                "a point to be deleted",
                lambda: self._deleted(chosen.point_id),
                END_SECONDS,
                lambda: self.stage.seawall("point", "delete", chosen.point_id, "--yes").err,
                every_seconds=1,
            )
            self.notes.forget(chosen.point_id)
        return Ordered(operation, [], {})

    def _deleted(self, point_id: str) -> bool:
        if self.stage.seawall("point", "delete", point_id, "--yes").code == 0:
            return True
        return point_id not in {
            one["point_id"] for one in self.stage.shown("point", "list", "--limit", "500")["points"]
        }

    def end(self, ordered: "Ordered") -> None:
        """Await its end and note what came of it."""
        if ordered.operation.kind is OperationKind.CANCEL:
            self._cancel(ordered)
        if ordered.operation.kind is OperationKind.DELETE:
            self._collect()
        for run_id in ordered.runs:
            self._end_run(ordered, run_id)
        if ordered.restored:
            self._look_at_restored(ordered)

    def _cancel(self, ordered: "Ordered") -> None:
        time.sleep(ordered.operation.after_seconds)
        for run_id in ordered.runs:
            self.stage.seawall("run", "cancel", run_id)

    def _collect(self) -> None:
        """Faults may end it; none may make it take what a point needs."""
        self.stage.seawall("repo", "collect", REPOSITORIES[0], "--json", timeout_seconds=JOB_SECONDS)

    def _end_run(self, ordered: "Ordered", run_id: str) -> None:
        run = self.stage.await_over(run_id)
        shown = self.stage.shown("run", "show", run_id)
        what = "restore" if ordered.restored else str(ordered.operation.kind)
        state = shown["state"] if run is None else run.state
        self.notes.runs.append(RunLook(run_id, what, state, shown.get("failure") or {}, shown["point_id"]))
        vm = next((one for one in self.vms if one.name == shown["vm_name"]), None)
        if run is not None and run.succeeded and not ordered.restored and vm is not None:
            known = merged(ordered.known[vm.name], vm)
            self.notes.made.append(Made(run.point_id, vm.name, known, str(ordered.operation)))

    # -- restored VMs

    def _look_at_restored(self, ordered: "Ordered") -> None:
        hypervisor = self.stage.lab.hypervisors[ordered.operation.to]
        folder = hypervisor.host.outside(f"{IMAGES}/{ordered.restored}")
        try:
            if self.notes.runs[-1].succeeded and ordered.source is not None:
                targets = list(ordered.source.known.disks)
                disks = judge_files(self.stage, folder, targets)
                wrong = [
                    f"{target}: {disk.wrong_bytes} wrong bytes" for target, disk in disks.items() if disk.wrong_bytes
                ]
                wrong += [f"{target} is missing" for target in targets if target not in disks]
                self.notes.trouble += [
                    f"{ordered.restored}, restored from {ordered.source.point_id}: {one}" for one in wrong
                ]
                if ordered.operation.start and not wrong:
                    self._start_restored(ordered, hypervisor)
        finally:
            self._remove_restored(ordered.restored, hypervisor)

    def _start_restored(self, ordered: "Ordered", hypervisor: HypervisorHost) -> None:
        """It boots and writes, by the very disks."""
        assert ordered.source is not None
        console = hypervisor.host.outside(f"{LOGS}/{ordered.source.vm}.console")
        console.unlink(missing_ok=True)
        self.consoles.follow(ordered.restored, console)
        hypervisor.virsh("start", ordered.restored)

        def writes() -> bool:
            return sum(line.text.startswith("SOAK-TICK") for line in self.consoles.lines(ordered.restored)) > 4

        try:
            wait_for(f"{ordered.restored} to write", writes, RESTORED_BOOT_SECONDS)
        except LabFailed as failed:
            self.notes.trouble.append(str(failed))

    def _remove_restored(self, name: str, hypervisor: HypervisorHost) -> None:
        if name in hypervisor.domains():
            hypervisor.virsh("destroy", name, check=False)
            hypervisor.virsh("undefine", name)
        folder = hypervisor.host.outside(f"{IMAGES}/{name}")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@dataclass(frozen=True)
class Ordered:
    """What was asked for. `known`: by VM, when it was asked for. `restored`: the name of the VM that a restore makes, from `source`."""

    operation: Operation
    runs: list[str]
    known: dict[str, Known]
    restored: str = ""
    source: Made | None = None


def merged(known: Known, vm: SoakVm) -> Known:
    """With the lengths that its disks have got while the backup ran: the point may hold either."""
    now = vm.lengths_now()
    lengths = {disk: had | now.get(disk, frozenset()) for disk, had in known.lengths.items()}
    return Known(known.disks, lengths, known.done)
