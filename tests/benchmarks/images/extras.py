"""What is measured against a number, not against another tool: the worker's memory on a huge disk, the idle controller."""

import time

from .fleet import Fleet
from .making import image
from .measured import RGW
from .offline_vm import OfflineVm
from .processes import memory_mib, times_of
from .seawall_tool import Seawall
from .targets import BucketTarget

IDLE_SECONDS = 60.0
_SETTLING_SECONDS = 5.0


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
    """The controller with two agents and nothing to do, after work."""
    pid = fleet.controller.process.pid
    time.sleep(_SETTLING_SECONDS)
    before, began = times_of(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = times_of(pid), time.monotonic() - began
    if before is None or after is None:
        raise RuntimeError("the controller ended while it was idle")
    percent = 100 * (after.cpu_seconds - before.cpu_seconds) / seconds
    return {"rss_mib": round(memory_mib(pid, "VmRSS"), 1), "cpu_percent": round(percent, 3)}
