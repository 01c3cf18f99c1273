"""A million small chunks, three in ten of them garbage: our collection beside `restic prune`, on the same bytes, both in a folder.

Ours is the collection library over a ledger in memory, in this process: the controller's database is asked some dozen times in all.
Both repositories are made once; each round works on copies of them (hard links: neither tool writes into an object that exists).
"""

import copy
import gc
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.images.targets import folder_bytes
from seawall.repository.clock import SystemClock
from seawall.repository.collecting.collect import Collection
from seawall.repository.collecting.hands import MANY_HANDS
from seawall.repository.collecting.plan import CollectSettings
from seawall.repository.collecting.port import PackFacts, PackStanding, PointRoot, RootState
from seawall.repository.format.layout import manifest_name, pack_name, refmap_name
from seawall.repository.store.folder import FolderStore, create_folder
from support.collection_ledger_memory import MemoryLedger
from support.point_writing import facts

from .alternating import Spent, in_turn, plain, speedup, spent
from .commands import Restic, run
from .made_repository import TENANT, MadeRepository
from .small_files import FILES_PER_DIRECTORY, FilesAsDisk, directory_of, write_directory

FILES = 1_000_000
ROUNDS = 3
GARBAGE = 0.3
_NOMINAL_BYTES = 8192
_VM = str(UUID(int=1))


def measure(work: Path, files: int = FILES, rounds: int = ROUNDS) -> tuple[float, dict[str, Any]]:
    """(our wall time / that of restic prune, what was run)."""
    directories = files // FILES_PER_DIRECTORY
    gone = np.random.default_rng(3).choice(directories, int(directories * GARBAGE), replace=False).tolist()
    repository, ledger, chunks = _our_repository(work / "ours", directories, gone)
    _their_repository(work / "theirs", directories, gone)
    sizes: dict[str, list[int]] = {"ours": [], "theirs": []}

    def ours() -> Spent:
        place = work / "ours.copy"
        _copy(work / "ours", place)
        collection = Collection(
            repository.opened_in(FolderStore(place)),
            copy.deepcopy(ledger),
            SystemClock(),
            CollectSettings(grace_us=0),
            hands=MANY_HANDS,
        )
        took = spent(collection.execute)
        sizes["ours"] = [folder_bytes(work / "ours"), folder_bytes(place)]
        shutil.rmtree(place)
        return took

    def theirs() -> Spent:
        place = work / "theirs.copy"
        _copy(work / "theirs", place)
        took = Restic(place, new=False).timed("prune")
        sizes["theirs"] = [folder_bytes(work / "theirs/repository"), folder_bytes(place / "repository")]
        shutil.rmtree(place)
        return took

    pairs = in_turn(ours, theirs, rounds)
    faster, cheaper = speedup(pairs)
    return 1 / faster, {
        "files": files,
        "chunks": chunks,
        "garbage": GARBAGE,
        "wall_ratio": round(1 / faster, 4),
        "cpu_ratio": round(1 / cheaper, 4),
        "ours_mib_before_after": [size >> 20 for size in sizes["ours"]],
        "restic_mib_before_after": [size >> 20 for size in sizes["theirs"]],
        "rounds_ours_restic": plain(pairs),
    }


def _our_repository(place: Path, directories: int, gone: list[int]) -> tuple[MadeRepository, MemoryLedger, int]:
    """Two points, the older one deleted as an operator's deletion leaves it; and the number of chunks stored."""
    create_folder(place)
    store = FolderStore(place)
    repository = MadeRepository(store, _NOMINAL_BYTES)
    first = repository.back_up(FilesAsDisk(directories), 1)
    second = repository.back_up(FilesAsDisk(directories, gone), 2)
    for name in (manifest_name(TENANT, _VM, first), refmap_name(TENANT, _VM, first)):
        store.delete(name)
    ledger = MemoryLedger()
    ledger.points[second] = PointRoot(TENANT, _VM, facts(2).point_id, RootState.AVAILABLE, 1, "", b"")
    for pack in repository.coordinator.packs:
        size = store.head(pack_name(TENANT, pack.pack_id, 0)).size_bytes
        ledger.stored[pack.pack_id] = PackFacts(
            pack.pack_id, TENANT, PackStanding.STORED, pack.meta, size, len(pack.table), 0
        )
    chunks = len(repository.coordinator.index)
    repository.coordinator.index.clear()
    repository.coordinator.packs.clear()
    gc.collect()
    return repository, ledger, chunks


def _their_repository(place: Path, directories: int, gone: list[int]) -> None:
    """Two snapshots, the older one forgotten."""
    tree = place.with_name("tree")
    for number in range(directories):
        write_directory(tree, number)
    restic = Restic(place)
    restic.run("backup", str(tree))
    for number in gone:
        shutil.rmtree(directory_of(tree, number))
    restic.run("backup", str(tree))
    restic.run("forget", "--keep-last", "1")
    shutil.rmtree(tree)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    run(("cp", "--archive", "--link", str(source), str(target)))
    os.sync()
