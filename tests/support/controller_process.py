"""A controller in a process of its own, made and served by the real command, and an operator's stubs for it."""

import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seawall.api.v1 import operator_pb2, operator_pb2_grpc, resources_pb2
from seawall.cli.connection import connect
from support.cli_command import Cli
from support.controller_application import RECOVERY_KEY, free_port

WAIT_SECONDS = 60.0
TIMINGS = {
    "collect_grace_seconds": 0,
    "verify_new_seconds": 0.5,
    "scheduler_interval_seconds": 0.2,
    "heartbeat_seconds": 0.5,
}
JOB_OVER = (
    resources_pb2.JOB_STATE_SUCCEEDED,
    resources_pb2.JOB_STATE_FAILED,
    resources_pb2.JOB_STATE_CANCELED,
)


@dataclass(frozen=True)
class Served:
    """`pid`: the controller's."""

    state: Path
    backups: operator_pb2_grpc.BackupServiceStub
    admin: operator_pb2_grpc.AdminServiceStub
    pid: int

    def add_folder(self, folder: Path, chunk_nominal_bytes: int) -> resources_pb2.Repository:
        folder.mkdir()
        request = operator_pb2.AddRepositoryRequest(
            request_id=str(uuid.uuid4()),
            name="main",
            url=folder.as_uri(),
            recovery_public_key=RECOVERY_KEY,
            chunk_nominal_bytes=chunk_nominal_bytes,
        )
        return self.backups.AddRepository(request, timeout=WAIT_SECONDS).repository

    def job(self, kind: "resources_pb2.JobKind.ValueType", read_data_percent: int = 0) -> resources_pb2.Job:
        """Begun and over."""
        request = operator_pb2.StartJobRequest(
            request_id=str(uuid.uuid4()),
            repository="main",
            kind=kind,
            spec=resources_pb2.JobSpec(read_data_percent=read_data_percent),
        )
        job = self.backups.StartJob(request, timeout=WAIT_SECONDS).job
        for answer in self.backups.WatchJob(operator_pb2.WatchJobRequest(job=job.job_id), timeout=300):
            job = answer.job
        assert job.state in JOB_OVER, job
        return job


@contextmanager
def served(root: Path) -> Iterator[Served]:
    """Killed at the end."""
    operator, agent = free_port(), free_port()
    config = root / "controller.toml"
    lines = [f'state_dir = "{root / "state"}"', f'operator_listen = "127.0.0.1:{operator}"']
    lines += [f'agent_listen = "127.0.0.1:{agent}"', f'agent_address = "127.0.0.1:{agent}"']
    lines += [f'enrol_address = "127.0.0.1:{operator}"', "[timings]"]
    lines += [f"{name} = {value}" for name, value in TIMINGS.items()]
    config.write_text("\n".join(lines) + "\n")
    cli = Cli(root)
    made = cli("controller", "init", "--config-file", config)
    assert made.code == 0, made
    with (root / "controller.log").open("w") as log:
        process = subprocess.Popen(
            cli.line("controller", "run", "--config-file", config), env=cli.environment, stdout=log, stderr=log
        )
    try:
        await_port(operator, process, root / "controller.log")
        await_port(agent, process, root / "controller.log")
        with connect(root / "state" / "operator.toml") as access:
            yield Served(root / "state", access.backup, access.admin, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """On loopback. AssertionError when the process ends before, or after a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
