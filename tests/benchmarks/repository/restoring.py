"""A disk restored to a file, by `seawall rescue restore` and by `restic restore`: both whole commands, both from a folder, same bytes."""

import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.images.comparing import compare
from seawall.repository.store.folder import FolderStore, create_folder

from .alternating import Spent, in_turn, plain, speedup
from .commands import SEAWALL, Restic, timed
from .image_data import MIB
from .made_repository import MadeRepository
from .pipeline_ends import FileSource

ROUNDS = 3


def measure(image: Path, dense: Path, work: Path, rounds: int = ROUNDS) -> tuple[float, dict[str, Any]]:
    """(restic's wall time / ours for the disk as it is, what was run). Every restored file is compared with the original.

    `image`: a server's disk, most of it never written to. `dense`: what it has allocated, without a hole: the bytes alone.
    """
    faster, as_it_is = _restored(image, work / "image", rounds)
    _, without_holes = _restored(dense, work / "dense", rounds)
    return faster, {"from": "folder", "disk": as_it_is, "without_holes": without_holes}


def _restored(disk: Path, work: Path, rounds: int) -> tuple[float, dict[str, Any]]:
    store_folder, sheet, out = work / "ours", work / "recovery.txt", work / "restored"
    create_folder(store_folder)
    store = FolderStore(store_folder)
    repository = MadeRepository(store)
    with FileSource(disk) as source:
        point = repository.back_up(source)
    repository.write_sheet(sheet)
    restic = Restic(work / "restic")
    restic.run("backup", str(disk))

    def ours() -> Spent:
        words = ("rescue", "--repository", store.url, "--key", str(sheet), "restore", point, "--to", str(out))
        _fresh(out)
        spent = timed((*SEAWALL, *words))
        compare("seawall", disk, out / "vda.raw")
        return spent

    def theirs() -> Spent:
        _fresh(out)
        spent = restic.timed("restore", "latest", "--target", str(out))
        compare("restic", disk, out / disk.relative_to("/"))
        return spent

    pairs = in_turn(ours, theirs, rounds)
    shutil.rmtree(work)
    wall, cpu = speedup(pairs)
    return wall, {
        "size_mib": disk.stat().st_size // MIB,
        "data_mib": disk.stat().st_blocks * 512 // MIB,
        "wall_ratio": round(wall, 2),
        "cpu_ratio": round(cpu, 2),
        "rounds_ours_restic": plain(pairs),
    }


def _fresh(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
