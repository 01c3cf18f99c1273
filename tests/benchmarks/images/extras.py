"""What is measured against a number, not against another tool: the worker's memory on a huge disk, the idle controller."""

import time

from deploy.lab.waiting import wait_for

from .fleet import Fleet
from .making import image
from .measured import RGW
from .offline_vm import OfflineVm
from .processes import children, memory_mib, times_of
from .seawall_tool import Seawall
from .targets import BucketTarget

IDLE_SECONDS = 60.0
_QUIET_SECONDS = 30.0
"""Longer than from a new pack to its being read back: nobody is at work that would begin again soon."""
_AT_WORK_SECONDS = 300.0


def worker_peak_of_2t(fleet: Fleet) -> float:
    """MiB: the worker that backs up a sparse disk of 2 TiB."""
    seawall = Seawall(fleet, "sparse", BucketTarget(fleet.store, "seawall-sparse"), RGW)
    seawall.make_repository("s3://seawall-sparse")
    vm = OfflineVm(fleet, "huge")
    vm.present(image("sparse2t"))
    row = seawall.backup("sparse2t", 1, vm)
    vm.turn_off()
    return row.worker_peak_mib


def controller_idle(fleet: Fleet) -> dict[str, float]:
    """The controller with two agents and nothing to do, after work: what was stored has been read back."""
    pid = fleet.controller.process.pid
    await_quiet(pid)
    before, began = times_of(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = times_of(pid), time.monotonic() - began
    if before is None or after is None:
        raise RuntimeError("the controller ended while it was idle")
    percent = 100 * (after.cpu_seconds - before.cpu_seconds) / seconds
    return {"rss_mib": round(memory_mib(pid, "VmRSS"), 1), "cpu_percent": round(percent, 3)}


def await_quiet(controller_pid: int) -> None:
    """Until it has had no maintenance worker for a while. Raises LabFailed."""
    worked = time.monotonic()

    def quiet() -> bool:
        nonlocal worked
        if children(controller_pid):
            worked = time.monotonic()
        return time.monotonic() - worked >= _QUIET_SECONDS

    wait_for("the controller to have nothing to do", quiet, _AT_WORK_SECONDS)
