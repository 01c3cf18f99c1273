"""How the agent is: one line of JSON per connection on a unix socket. Served by the supervisor, read by `seawall agent status`."""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from seawall.agent.errors import AgentError, FailureKind

SOCKET_NAME = "agent.sock"
_READ_SECONDS = 5.0


class AgentNotRunning(AgentError):
    """Nobody serves the health socket."""

    reason = "AGENT_NOT_RUNNING"
    kind = FailureKind.PERMANENT
    next_step = "Start it with `seawall agent run`."


@dataclass(frozen=True, slots=True)
class AttemptHealth:
    """A worker of this agent."""

    attempt_id: str
    run_id: str
    kind: str
    vm_name: str
    state: str
    phase: str
    pid: int


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """The supervisor's own view. `connected` tells of heartbeats that were answered, not of hopes."""

    agent_id: str
    agent_version: str
    controller: str
    connected: bool
    last_heartbeat_us: int  # 0: none yet
    last_error: str
    hypervisor: str  # version; "" when it does not answer
    vm_count: int
    certificate_expires_us: int
    attempts: tuple[AttemptHealth, ...]


def read_status(run_dir: Path) -> AgentHealth:
    """Ask the agent of this host. Raises AgentNotRunning."""
    path = run_dir / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_READ_SECONDS)
            client.connect(str(path))
            text = b"".join(iter(lambda: client.recv(65_536), b""))
        values = json.loads(text)
        attempts = tuple(AttemptHealth(**item) for item in values.pop("attempts"))
        return AgentHealth(**values, attempts=attempts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AgentNotRunning(f"no agent answers at {path}: {error}") from error


async def serve_health(run_dir: Path, read: Callable[[], AgentHealth]) -> asyncio.Server:
    """Start answering; close the server when done. A socket left by a dead agent is replaced."""
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = run_dir / SOCKET_NAME
    path.unlink(missing_ok=True)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(asdict(read())).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            return  # the reader went away: nobody to tell
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    path.chmod(0o600)
    return server
