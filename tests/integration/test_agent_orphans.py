"""A worker knows its supervisor by pid: in a container that is 1, the pid that an orphan's new parent has elsewhere."""

import subprocess
import sys
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment, AttemptRef
from seawall.agent.worker.pipe import Job, job_line

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
