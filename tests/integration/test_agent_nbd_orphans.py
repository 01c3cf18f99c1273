"""A qemu-nbd whose worker was killed before it connected has no last client to end with: the sweep ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seawall.agent.restore.sweep import sweep_restores
from seawall.agent.restore.unfinished import RestoreList, UnfinishedDisk, note, restores_dir
from support.libvirt_host import await_true

WORKER = """
import sys
from pathlib import Path
from seawall.agent.disk import qcow2
from seawall.repository.clock import SystemClock
disk, socket = map(Path, sys.argv[1:])
qcow2.create(disk, 1 << 20)
server = qcow2.serve(disk, socket, SystemClock())
print(server._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def orphan(tmp_path: Path) -> int:
    """Its pid."""
    folder = restores_dir(tmp_path) / "dead"
    disk = tmp_path / ".seawall-dead-1"
    folder.mkdir(parents=True)
    note(tmp_path / "state", RestoreList("dead", "", (UnfinishedDisk(disk, tmp_path / "disk"),)))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(disk), str(folder / "0.sock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        await_true((folder / "0.sock").exists, "qemu-nbd listens", 10)
        os.kill(worker.pid, signal.SIGKILL)
    assert runs(pid)
    return pid


def runs(pid: int) -> bool:
    """A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def swept(folder: Path, *live: str) -> list[str]:
    return sweep_restores(folder, folder / "state", live, lambda: [], lambda attempt, vm_id: None).removed


def test_the_sweep_ends_it_and_removes_its_disk(tmp_path: Path, orphan: int) -> None:
    assert swept(tmp_path, "dead") == [] and runs(orphan)
    sentences = swept(tmp_path)
    assert len(sentences) == 2 and "qemu-nbd" in sentences[0]
    await_true(lambda: not runs(orphan), "qemu-nbd is gone", 10)
    assert list(tmp_path.glob(".seawall-*")) == []
