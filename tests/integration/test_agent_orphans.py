"""The agent as process 1 of a container: workers know it by that pid, and what outlives them becomes its own child."""

import subprocess
import sys
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment, AttemptRef
from seawall.agent.worker.pipe import Job, job_line

AS_PARENT_OF_ORPHANS = """
import subprocess, time
from pathlib import Path
from seawall.agent.adopted import Adopted, inherits_orphans
assert inherits_orphans()
own = subprocess.Popen(["sh", "-c", "exit 3"])
subprocess.run(["sh", "-c", "sleep 0.1 & sleep 0.1 & sleep 300 &"])
def ended():
    return [stat for stat in Path("/proc").glob("[0-9]*/stat") if stat.read_text().rpartition(")")[2].split()[0] == "Z"]
deadline = time.monotonic() + 60
while len(ended()) < 3 and time.monotonic() < deadline:
    time.sleep(0.01)
adopted = Adopted()
looks = [len(adopted.see_off({own.pid})) for _ in range(3)]
print(looks, len(ended()), own.wait(), len(ended()))
"""

WORKER = Path(__file__).parents[1] / "support" / "agent_file_worker.py"
AS_SUPERVISOR = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)"


def job(tmp_path: Path, supervisor_pid: int) -> bytes:
    config = AgentConfig(state_dir=tmp_path / "state", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch")
    return job_line(
        Job(
            config,
            "agent",
            "session",
            supervisor_pid,
            Assignment(AttemptRef("a", 1, 1), "backup", "r", "v", "n", False),
        )
    )


def test_a_worker_begins_under_a_supervisor_that_is_pid_1(tmp_path: Path) -> None:
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    command = [*namespace, sys.executable, "-c", AS_SUPERVISOR, sys.executable, str(WORKER), "a"]
    ended = subprocess.run(command, input=job(tmp_path, 1), capture_output=True, timeout=60, check=False)
    assert b"NotEnrolled" in ended.stderr, "it began, and found no identity"


def test_a_worker_whose_supervisor_died_first_begins_nothing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(WORKER), "a"], input=job(tmp_path, 1), capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")


def test_what_outlives_its_parent_is_seen_off_by_process_1_and_own_children_are_left_to_whoever_waits() -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", AS_PARENT_OF_ORPHANS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "[0, 2, 0] 1 3 0\n", ended.stderr
