"""What only a folder store has: killed writers, file modes, leftovers, names that are folders."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seawall.repository.errors import ObjectMissing, StoreRefused
from seawall.repository.store.folder import FolderStore, create_folder
from support.store_clock import SkippingClock

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from seawall.repository.store.folder import FolderStore

folder, step, create_only = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "create"
module, name = (os, step)
real = getattr(module, name)

def die(*args, **more):
    if name == "write":
        real(args[0], bytes(args[1])[: len(args[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

FolderStore(folder).put("v1/warm", b"makes the folders", create_only=False)
setattr(module, name, die)
FolderStore(folder).put("v1/x", b"new" * 1000, create_only=create_only)
"""


def run_killed_writer(folder: Path, step: str, how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(folder), step, how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", ["write", "fsync", "link"])
def test_a_killed_create_leaves_nothing_to_see(tmp_path: Path, step: str) -> None:
    run_killed_writer(tmp_path, step, "create")
    store = FolderStore(tmp_path)
    with pytest.raises(ObjectMissing):
        store.get("v1/x")
    assert [info.name for info in store.list("")] == ["v1/warm"]
    store.put("v1/x", b"again")
    assert store.get("v1/x") == b"again"


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_killed_replacement_leaves_the_old_body(tmp_path: Path, step: str) -> None:
    store = FolderStore(tmp_path)
    store.put("v1/x", b"old")
    run_killed_writer(tmp_path, step, "replace")
    assert store.get("v1/x") == b"old"


def test_a_writer_killed_after_the_link_has_written(tmp_path: Path) -> None:
    run_killed_writer(tmp_path, "unlink", "create")
    assert FolderStore(tmp_path).get("v1/x") == b"new" * 1000


def test_leftovers_are_removed_only_when_old(tmp_path: Path) -> None:
    run_killed_writer(tmp_path, "fsync", "create")
    clock = SkippingClock()
    store = FolderStore(tmp_path, clock)
    (leftover,) = tmp_path.rglob(".put-*")
    os.utime(leftover, (clock.monotonic_seconds(),) * 2)
    clock.pass_seconds(60)
    assert store.remove_leftovers(older_than_seconds=61) == 0
    assert store.remove_leftovers(older_than_seconds=60) == 1
    assert list(tmp_path.rglob(".put-*")) == []
    assert store.get("v1/warm") == b"makes the folders"


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    create_folder(tmp_path / "store")
    store = FolderStore(tmp_path / "store")
    store.put("v1/p/x", b"x")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "store").rglob("*")}
    assert modes == {"v1": "0o700", "p": "0o700", "x": "0o600"}
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700


def test_a_name_cannot_be_object_and_folder_at_once(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("v1/x", b"x")
    store.put("v1/y/z", b"z")
    with pytest.raises(StoreRefused):
        store.put("v1/x/below", b"y")
    for create_only in (True, False):
        with pytest.raises(StoreRefused):
            store.put("v1/y", b"y", create_only=create_only)
    assert [info.name for info in store.list("")] == ["v1/x", "v1/y/z"]


def test_what_is_no_plain_file_is_not_listed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("v1/x", b"x")
    (tmp_path / "v1" / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "v1" / "pipe")
    assert [info.name for info in store.list("")] == ["v1/x"]


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(StoreRefused):
        FolderStore(Path("backups"))
