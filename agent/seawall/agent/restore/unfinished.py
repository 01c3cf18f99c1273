"""What a restore has on this host before it is complete: a durable list of its files in the agent's state, until its end is written down.

A killed worker leaves nothing in the way, and a restore that was complete but not yet reported is not done twice. Disks being restored
have another name until they are complete. The list outlives a reboot; the folder of sockets does not.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.errors import DiskUnwritable
from seawall.repository.store.files import sync_folder

Inode = tuple[int, int]
"""Device and inode number: which file it is, whatever it is called."""


@dataclass(frozen=True, slots=True)
class UnfinishedDisk:
    """One file: its name until it is complete, the name it is to have, and once it is about to get that: which file it is."""

    unfinished: Path
    final: Path
    inode: Inode | None = None

    @property
    def in_place(self) -> bool:
        """Whether the file with the final name is the one that this restore filled."""
        return self.inode is not None and inode_of(self.final) == self.inode


@dataclass(frozen=True, slots=True)
class RestoreList:
    """Everything that one restore makes. `vm_id` is empty where only files are wanted."""

    attempt_id: str
    vm_id: str
    disks: tuple[UnfinishedDisk, ...]
    folders: tuple[Path, ...] = ()  # that were missing, outermost first


def restores_dir(run_dir: Path) -> Path:
    """The folder whose sub-folders are restores, named by attempt: sockets of qemu-nbd."""
    return run_dir / "restores"


def lists_dir(state_dir: Path) -> Path:
    """The folder of the lists, `<attempt>.json`."""
    return state_dir / "restores"


def unfinished_path(path: Path, attempt_id: str) -> Path:
    """The name of a disk's file until it is complete, beside its final one; never too long, however long that is."""
    return path.with_name(f".seawall-{attempt_id}-{hashlib.blake2b(path.name.encode(), digest_size=8).hexdigest()}")


def inode_of(path: Path) -> Inode | None:
    """None when nothing is there."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def note(state_dir: Path, noted: RestoreList) -> None:
    """Write the list, durably: before the first file is made, and again before one gets its final name. Raises DiskUnwritable."""
    folder = lists_dir(state_dir)
    path = folder / f"{noted.attempt_id}.json"
    disks = [{"unfinished": str(one.unfinished), "final": str(one.final), "inode": one.inode} for one in noted.disks]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folders = [str(one) for one in noted.folders]
        _replace(path, json.dumps({"vm_id": noted.vm_id, "disks": disks, "folders": folders}))
    except OSError as error:
        raise DiskUnwritable(
            f"What is restored here cannot be written down in {folder}: {error.strerror}.",
            reason="STATE_UNWRITABLE",
            next_step="See the free space and the health of the file system that holds the agent's state on that host.",
        ) from error


def forget(state_dir: Path, run_dir: Path, attempt_id: str) -> None:
    """Nothing of this restore is unfinished any more. Never raises: the sweep does it again."""
    with suppress(OSError):
        (lists_dir(state_dir) / f"{attempt_id}.json").unlink(missing_ok=True)
    shutil.rmtree(restores_dir(run_dir) / attempt_id, ignore_errors=True)
    for folder in (lists_dir(state_dir), restores_dir(run_dir)):
        with suppress(OSError):
            folder.rmdir()  # only when no other restore runs


def noted_attempts(state_dir: Path) -> list[str]:
    """The attempts whose lists lie here; half-written ones, whose restore never began, are removed on the way."""
    folder = lists_dir(state_dir)
    for path in folder.glob("*.new") if folder.is_dir() else ():
        path.unlink(missing_ok=True)
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def noted(state_dir: Path, attempt_id: str) -> RestoreList | None:
    """What the attempt noted. None: nothing, or nothing that can be read."""
    try:
        text = json.loads((lists_dir(state_dir) / f"{attempt_id}.json").read_text(encoding="utf-8"))
        disks = tuple(_disks(attempt_id, text["disks"]))
        return RestoreList(attempt_id, str(text["vm_id"]), disks, tuple(Path(one) for one in text["folders"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _disks(attempt_id: str, disks: list[dict[str, object]]) -> Iterator[UnfinishedDisk]:
    for one in disks:
        inode, unfinished = one["inode"], Path(str(one["unfinished"]))
        known = (int(inode[0]), int(inode[1])) if isinstance(inode, list) else None
        if unfinished.name.startswith(f".seawall-{attempt_id}-"):
            yield UnfinishedDisk(unfinished, Path(str(one["final"])), known)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)
