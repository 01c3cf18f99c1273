"""The independent judge: copies of the disks at the instant of a backup, made by qemu-img, and the comparison with restored ones."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.answers import TRANSFERRING_OR_LATER, Point
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import IMAGES, GuestVm, convert_to_raw
from deploy.lab.laboratory import Laboratory
from deploy.lab.namespaces import limit_upload
from deploy.lab.waiting import LabFailed, wait_for

BACKUP_SECONDS = 150
SLOW_MEGABITS = 64
"""The network of a witnessed backup: slow enough that the guest is writing again before the last chunk is on its way."""


@dataclass(frozen=True)
class WitnessedPoint:
    """A restore point with the truth about its instant. `seq` is the guest's newest operation in it, `written_during` how many followed
    before the backup was over, `resumed_while` the state of the backup when the guest went on."""

    point: Point
    truth: dict[str, Path]
    seq: int
    written_during: int
    resumed_while: str


def take_point(lab: Laboratory, guest: GuestVm, image: GuestImage, directory: Path) -> WitnessedPoint:
    """Suspend, copy the disks, start the backup, let the guest write on once the run transfers, wait for the point."""
    truth = guest.copy_truth(directory)
    limit_upload(guest.host, SLOW_MEGABITS)
    try:
        run = lab.start_backup(guest.name, "--freeze", "never")  # suspended, it could not answer
        state = _await_transfer(lab, run.run_id)
        guest.resume()
        seq = judge_images(image, truth)
        finished = lab.await_end(run.run_id, BACKUP_SECONDS)
    finally:
        limit_upload(guest.host, 0)
    if not finished.succeeded:
        raise LabFailed(f"the backup {finished.state}: {finished.failure}\n{lab.logs()}")
    return WitnessedPoint(lab.point_of(finished.point_id), truth, seq, guest.seq() - seq, state)


def _await_transfer(lab: Laboratory, run_id: str) -> str:
    def transfers() -> str | None:
        run = lab.run_of(run_id)
        if run.over and not run.succeeded:
            raise LabFailed(f"the backup {run.state}: {run.failure}\n{lab.logs()}")
        return run.attempt_state if run.attempt_state in TRANSFERRING_OR_LATER else None

    return wait_for(f"run {run_id} to transfer", transfers, BACKUP_SECONDS, lab.logs)


def judge_images(image: GuestImage, disks: dict[str, Path]) -> int:
    """The guest's own check on raw images, run here. Returns the newest operation in them. Raises LabFailed when they are bad."""
    said = image.tool_says("verify", disks)
    if "SEAWALL-GUEST-VERDICT ok" not in said:
        raise LabFailed(f"the disks of the instant are bad: {said}")
    return int(said.split("seq=")[1].split()[0])


def compare_point(lab: Laboratory, host: str, witnessed: WitnessedPoint) -> dict[str, str]:
    """Restore every disk of the point to files on `host` and compare each with the truth.

    Per disk: "" when identical, else the difference.
    """
    directory = f"{IMAGES}/compare-{witnessed.point.point_id[:13]}"
    outside = lab.hosts[host].outside(directory)
    outside.mkdir()
    chosen = [word for disk in witnessed.truth for word in ("--disk", disk)]
    run = lab.restore(witnessed.point.point_id, "--to", host, *chosen, "--directory", directory)
    if not run.succeeded:
        raise LabFailed(f"the restore to files {run.state}: {run.failure}\n{lab.logs()}")
    found = {disk: _difference(path, _restored_file(outside, disk)) for disk, path in witnessed.truth.items()}
    shutil.rmtree(outside)
    return found


def _restored_file(directory: Path, disk: str) -> Path:
    found = [path for path in directory.rglob("*") if path.is_file() and disk in path.name]
    if len(found) != 1:
        raise LabFailed(
            f"the restore left {sorted(str(path) for path in directory.rglob('*'))}, not one file for {disk}"
        )
    return found[0]


def _difference(truth: Path, restored: Path) -> str:
    described = subprocess.run(
        ["qemu-img", "info", "--output=json", str(restored)], capture_output=True, text=True, check=True
    )
    plain = restored.with_name(restored.name + ".compare")
    convert_to_raw(restored, json.loads(described.stdout)["format"], plain)
    compared = subprocess.run(["cmp", str(truth), str(plain)], capture_output=True, text=True)
    plain.unlink()
    return "" if compared.returncode == 0 else (compared.stdout + compared.stderr).strip()
