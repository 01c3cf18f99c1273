"""Plays one round on the stage: VMs made, steps carried out, everything brought back to peace, all that came of it looked at, VMs gone."""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.lab.namespaces import limit_upload
from deploy.lab.waiting import LabFailed

from .changing import Happening, change
from .consoles import Consoles
from .evidence import Evidence, PointLook
from .faulting import Faults, Scene
from .leftovers import await_clean, files_left, mounts
from .operations import Operations
from .plan_words import OperationKind, RoundPlan, Step
from .points import Made, look_at
from .soak_vm import SoakVm
from .stage import Stage

FIRST_WRITES = 12


@dataclass
class Played:
    """A round that is over: what was seen, what happened when, how long its parts took (seconds), which of its points are still there."""

    evidence: Evidence
    history: list[str]
    seconds: dict[str, float]
    kept: list[Made] = field(default_factory=list)


@dataclass
class Round:
    """One in the making."""

    stage: Stage
    plan: RoundPlan
    mounts: dict[str, list[str]]
    history: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    looks: list[PointLook] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        self.history.append(f"{time.strftime('%H:%M:%S')} {sentence}")
        print(f"  {self.plan.seed} {self.history[-1]}", file=sys.stderr, flush=True)

    def play(self) -> Played:
        """Never raises: what cannot be done is trouble, and trouble is wrong."""
        with Consoles() as consoles:
            alpha = self.stage.lab.hypervisors["alpha"]
            vms = [SoakVm(plan, alpha, self.stage.image, consoles) for plan in self.plan.vms]
            operations = Operations(self.stage, vms, consoles)
            left: list[str] = []
            there: frozenset[str] = frozenset()
            try:
                self._timed("boot", lambda: self._boot(vms))
                for step in self.plan.steps:
                    self._timed("steps", lambda step=step: self._step(step, vms, operations))  # type: ignore[misc]
                self._timed("peace", lambda: self._make_peace(vms))
                left = await_clean(self.stage, vms, operations.notes.runs, self.mounts)
                there = self._points_there(vms)
                self._timed("judging", lambda: self._look_at_points(operations))
            except Exception as failed:  # the top of a round: the next one wants to be played, too
                self.trouble.append(f"{type(failed).__name__}: {failed}")
                self.history += traceback.format_exc().splitlines()
            guests = tuple(vm.look() for vm in vms)
            left += self._clear(vms)
        notes = operations.notes
        trouble = (*self.trouble, *notes.trouble)
        evidence = Evidence(self.plan.seed, tuple(self.looks), guests, tuple(notes.runs), there, tuple(left), trouble)
        kept = [made for vm in vms for made in notes.points_of(vm.name)]
        return Played(evidence, self.history, self.seconds, kept)

    def _timed(self, name: str, part: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            part()
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 1)

    def _boot(self, vms: list[SoakVm]) -> None:
        limit_way(self.stage, self.plan.megabits)
        for vm in vms:
            vm.create()
        for vm in vms:
            with vm.away():
                vm.start()
        for vm in vms:
            self.stage.await_known(vm.name)
            vm.await_writes(FIRST_WRITES)

    def _step(self, step: Step, vms: list[SoakVm], operations: Operations) -> None:
        self.note(f"step: {step}")
        vm = vms[step.operation.vm]
        for each in step.changes:
            change(vms[each.vm], each)
        if vm.state() == "running":
            vm.await_writes(FIRST_WRITES)
        host = step.operation.to if step.operation.kind is OperationKind.RESTORE else "alpha"
        scene = Scene(self.stage, host, vm, tuple(vms))
        with Faults(scene, step.faults) as faults, Happening(vm, step.event) as happening:
            ordered = operations.begin(step.operation)
            operations.end(ordered)
        self.trouble += [*faults.trouble, *happening.trouble]
        ends = [
            f"{run.state} {run.failure.get('reason', '')}".strip()
            for run in operations.notes.runs[-len(ordered.runs) :]
        ]
        self.note(f"  {', '.join(ends) if ordered.runs else 'done'}; {'; '.join(faults.done) or 'no fault'}")

    def _make_peace(self, vms: list[SoakVm]) -> None:
        """Faults are undone; what they stopped goes on, and every VM runs, as a checkpoint of one that is off cannot go."""
        limit_way(self.stage, 0)
        self.stage.await_online()
        for vm in vms:
            if vm.state() != "running":
                with vm.away():
                    vm.ensure(running=True)
        for vm in vms:
            vm.await_writes(FIRST_WRITES)

    def _points_there(self, vms: list[SoakVm]) -> frozenset[str]:
        listed = [
            point["point_id"]
            for vm in vms
            for point in self.stage.shown("point", "list", "--vm", vm.name, "--limit", "100")["points"]
        ]
        return frozenset(listed)

    def _look_at_points(self, operations: Operations) -> None:
        for vm in operations.vms:
            for made in operations.notes.points_of(vm.name):
                try:
                    self.looks.append(look_at(self.stage, made))
                    self.note(f"point {made.point_id} of {made.what}: {self.looks[-1].how}")
                except LabFailed as failed:
                    self.trouble.append(str(failed))

    def _clear(self, vms: list[SoakVm]) -> list[str]:
        """The VMs go; what is left of disks then is somebody's leftover."""
        with suppress(LabFailed):
            self.stage.proxy.clear()
            limit_way(self.stage, 0)
        for vm in vms:
            try:
                vm.remove()
            except LabFailed as failed:
                self.trouble.append(f"{vm.name} cannot be removed: {failed}")
        return files_left(self.stage)


def limit_way(stage: Stage, megabits: int) -> None:
    """Alpha's way to S3: slow enough that faults meet a transfer. 0: as fast as the machine."""
    limit_upload(stage.lab.hosts["alpha"], megabits)


def play_round(stage: Stage, plan: RoundPlan) -> Played:
    """The whole of it."""
    before = {name: mounts(hypervisor) for name, hypervisor in stage.lab.hypervisors.items()}
    return Round(stage, plan, before).play()


def drop_points(stage: Stage, points: list[Made]) -> None:
    """Points that are not needed any more, so that collections have something to do."""
    for made in points:
        stage.seawall("point", "delete", made.point_id, "--yes")
