"""What Seawall has left on the hosts though nothing goes on any more, looked for from outside."""

from collections.abc import Iterable, Sequence

from deploy.lab.guest_vm import IMAGES
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.traces import checkpoints, traces
from deploy.lab.waiting import LabFailed, wait_for

from .evidence import RunLook
from .soak_vm import SoakVm
from .stage import Stage

CLEAN_SECONDS = 150.0
"""A snapshot is kept for 60 s for an attempt that may go on with it."""

_MOUNTS = ["sh", "-c", "cut -d' ' -f2,3 /proc/mounts | sort"]


def mounts(hypervisor: HypervisorHost) -> list[str]:
    return hypervisor.host.run(_MOUNTS).stdout.splitlines()


def await_clean(
    stage: Stage, vms: Sequence[SoakVm], runs: Sequence[RunLook], before: dict[str, list[str]]
) -> list[str]:
    """What is left after all time that it may take; `before`: the mounts of each host when the soak began. The VMs run."""
    last: list[str] = []
    good = _good_attempts(stage, runs)

    def clean() -> bool:
        nonlocal last
        last = list(_left(stage, vms, good, before))
        return not last

    try:
        wait_for("nothing to be left", clean, CLEAN_SECONDS, every_seconds=0.5)
    except LabFailed:
        return last
    return []


def _left(stage: Stage, vms: Sequence[SoakVm], good: dict[str, str], before: dict[str, list[str]]) -> Iterable[str]:
    for name, hypervisor in stage.lab.hypervisors.items():
        yield from (f"{name}: {trace}" for trace in traces(hypervisor))
        yield from (f"{name}: mount {one}" for one in mounts(hypervisor) if one not in before[name])
    alpha = stage.lab.hypervisors["alpha"]
    for vm in vms:
        seen: set[str] = set()
        for attempt in checkpoints(alpha, vm.name):
            run = good.get(attempt, "")
            if not run or run in seen:
                yield f"checkpoint of attempt {attempt} on {vm.name}, " + (
                    "the run's second" if run else "of no run with a point"
                )
            seen.add(run)


def _good_attempts(stage: Stage, runs: Sequence[RunLook]) -> dict[str, str]:
    """Attempt -> run, of runs that made points: one of a run's attempts has the checkpoint, as they may go on with each other's."""
    good = [run for run in runs if run.succeeded and run.what != "restore"]
    shown = {run.run_id: stage.shown("run", "show", run.run_id)["attempts"] for run in good}
    return {attempt["attempt_id"]: run_id for run_id, attempts in shown.items() for attempt in attempts}


def files_left(stage: Stage) -> list[str]:
    """Of disks, once the round's VMs are gone."""
    return [
        f"{name}: {path.name}"
        for name, hypervisor in stage.lab.hypervisors.items()
        for path in hypervisor.host.outside(IMAGES).iterdir()
    ]
