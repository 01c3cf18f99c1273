"""Restores points to files on beta and has each byte of them judged by the guest's program."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.guest_vm import IMAGES
from deploy.lab.waiting import LabFailed

from seawall.agent.worker.continuity import WHY

from .evidence import DiskVerdict, Known, PointLook
from .stage import Stage

TO = "beta"


@dataclass(frozen=True)
class Made:
    """A point that a run of this soak made: what must be in it, `what` was asked for."""

    point_id: str
    vm: str
    known: Known
    what: str


def look_at(stage: Stage, made: Made) -> PointLook:
    """Restored to files, judged, removed. Raises LabFailed when it cannot be restored."""
    place = f"{IMAGES}/judged-{made.point_id}"
    outside = stage.lab.hosts[TO].outside(place)
    outside.mkdir()
    try:
        shown = stage.shown("point", "show", made.point_id)
        targets = [disk["disk"] for disk in shown["disks"]]
        chosen = [word for target in targets for word in ("--disk", target)]
        (run_id,) = stage.order([made.vm], "restore", made.point_id, "--to", TO, *chosen, "--directory", place)
        run = stage.await_over(run_id)
        if run is None or not run.succeeded:
            raise LabFailed(f"point {made.point_id} cannot be restored: {run.failure if run else 'no end'}")
        disks = judge_files(stage, outside, targets)
        how = ", ".join(f"{disk['disk']} {disk['how']}" for disk in shown["disks"])
        doubted = tuple(disk["disk"] for disk in shown["disks"] if disk["why"] == WHY)
        return PointLook(made.point_id, made.vm, made.known, disks, how, doubted)
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def judge_files(stage: Stage, folder: Path, targets: list[str]) -> Mapping[str, DiskVerdict]:
    """Files TARGET.FORMAT or ...-TARGET.FORMAT, one for each. A missing one is left out, and so is wrong."""
    found = {}
    for target in targets:
        files = [path for path in folder.iterdir() if path.stem == target or path.stem.endswith(f"-{target}")]
        if len(files) == 1:
            found[target] = stage.image.judge(target, files[0], "raw" if files[0].suffix == ".raw" else "qcow2")
    return found
