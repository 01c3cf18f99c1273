"""The agent's composition root: where its real adapters are built. Called by `seawall agent run`, `join` and `status`."""

import asyncio
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from seawall.agent.config import AgentConfig
from seawall.agent.control.identity import Identity, load_identity
from seawall.agent.disk.host_storages import HostStorages
from seawall.agent.errors import AgentError, FailureKind
from seawall.agent.hypervisor.departures import DepartureWatch
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.port import LeftMs
from seawall.agent.join import join_host
from seawall.agent.journal import Journal
from seawall.agent.logs import set_up_logs
from seawall.agent.supervisor.supervisor import Supervisor
from seawall.repository.clock import Clock, SystemClock

WORKER_COMMAND = (sys.executable, "-P", "-m", "seawall.agent.worker")
"""-P: no module is taken from the folder that the agent happens to be started in."""

_log = structlog.get_logger("seawall.agent")


class AlreadyRunning(AgentError):
    """Another agent uses this state directory."""

    reason = "AGENT_ALREADY_RUNNING"
    kind = FailureKind.PERMANENT
    next_step = "Stop the other one, or give this one a --state-dir of its own."


def run(config: AgentConfig) -> int:
    """Serve until SIGTERM or SIGINT; then 0. Raises NotEnrolled, AlreadyRunning."""
    set_up_logs()
    identity = load_identity(config.state_dir)
    with _only_one(config.state_dir):
        clock = SystemClock()
        departures = DepartureWatch(config.hypervisor, clock)
        departures.start()  # not before this process is the one that serves: its thread ends with the process alone
        asyncio.run(_supervise(config, identity, clock, departures.left_ms))
    return 0


def join(config: AgentConfig, token: str, force: bool = False) -> Identity:
    """Enrol this host; what it waits for is told on standard error. Raises what `join.join_host` raises."""
    return join_host(config, token, force=force, clock=SystemClock(), say=_say)


def _say(line: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


async def _supervise(config: AgentConfig, identity: Identity, clock: Clock, left_ms: LeftMs) -> None:
    hypervisor = LibvirtHypervisor(config.hypervisor, clock)
    journal = Journal(config.state_dir, clock)
    located = HostStorages().located
    supervisor = Supervisor(
        config, identity, hypervisor, journal, clock, WORKER_COMMAND, left_ms=left_ms, located=located
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    _log.info("agent_started", agent=identity.agent_id, controller=identity.address)
    try:
        await supervisor.run()
    finally:
        journal.close()


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    with (state_dir / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another agent runs with {state_dir}") from error
        yield
