"""Disks being restored have another name until they are complete, and a list names them: a killed worker leaves nothing in the way."""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from seawall.agent.disk.qcow2 import kill_servers
from seawall.agent.errors import DiskUnwritable

_LIST = "unfinished.json"


def restores_dir(run_dir: Path) -> Path:
    """The folder whose sub-folders are restores, named by attempt: sockets and the list."""
    return run_dir / "restores"


def unfinished_path(path: Path, attempt_id: str) -> Path:
    """The name of a disk's file until it is complete, beside its final one; never too long, however long that is."""
    return path.with_name(f".seawall-{attempt_id}-{hashlib.blake2b(path.name.encode(), digest_size=8).hexdigest()}")


def note_unfinished(folder: Path, paths: Sequence[Path]) -> None:
    """Write the list, durably, before the first file is made."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / _LIST, "w", encoding="utf-8") as file:
        json.dump([str(path) for path in paths], file)
        file.flush()
        os.fsync(file.fileno())


def put_in_place(unfinished: Path, final: Path) -> None:
    """Give the complete file its name, unless something has it. Raises DiskUnwritable."""
    try:
        os.link(unfinished, final)
    except FileExistsError as error:
        raise DiskUnwritable(
            f"{final} appeared while it was being restored.",
            next_step="Give another name or folder: --as NAME, --directory DIR.",
        ) from error
    except OSError as error:
        raise DiskUnwritable(f"{final} could not be made: {error.strerror}.") from error
    unfinished.unlink()


def sweep_restores(run_dir: Path, live_attempts: Collection[str]) -> list[str]:
    """Remove the unfinished disks of restores whose worker is dead. Returns a sentence for each."""
    done: list[str] = []
    folders = restores_dir(run_dir)
    for folder in sorted(folders.iterdir()) if folders.is_dir() else []:
        if folder.name in live_attempts:
            continue
        done += [f"Ended the qemu-nbd at {socket} of restore {folder.name}." for socket in kill_servers(folder)]
        for path in _listed(folder):
            if path.name.startswith(f".seawall-{folder.name}-") and path.is_file():
                path.unlink()
                done.append(f"Removed the unfinished disk {path} of restore {folder.name}.")
        shutil.rmtree(folder, ignore_errors=True)
    return done


def forget(folder: Path) -> None:
    """Nothing of this restore is unfinished any more."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # only when no other restore runs


def _listed(folder: Path) -> list[Path]:
    """Empty when the worker died before the list was whole: then no file was made either."""
    try:
        return [Path(one) for one in json.loads((folder / _LIST).read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError):
        return []
