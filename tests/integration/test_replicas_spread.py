"""Three controllers on one PostgreSQL, agents spread over them: each is killed in turn, and nobody waits for long."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2
from seawall.cli.connection import connect
from support.postgresql import PostgresServer
from support.replicas import FileHost, ReplicaProcess, Replicas, file_hosts, lease_row_of, replicas

ESTABLISHED = "01"
BOUND_SECONDS = 5.0
NO_LEADER_SECONDS = 8.0
"""Until a change is taken while the leader is dead: 3 s to see that its process is gone, and its successor's start."""


@pytest.fixture
async def three(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    """With the lease that a real controller has."""
    address = postgres_server.new_database()
    async with replicas(tmp_path, address.url, lease_row_of(lambda: postgres_server, address), 3, 15.0) as made:
        yield made


@dataclass
class Pauses:
    """Seconds from the death of a controller to the first answer to everybody."""

    heartbeat: float
    read: float
    change: float


def connections(member: ReplicaProcess) -> int:
    """Of agents' supervisors and workers, to this controller."""
    port = int(member.config.agent_listen.rpartition(":")[2])
    tables = ("/proc/net/tcp", "/proc/net/tcp6")
    rows = [line.split() for table in tables for line in Path(table).read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


async def heartbeats(hosts: Sequence[FileHost], begun_us: int) -> float:
    """Seconds until every agent had a heartbeat answered that it sent later."""
    begun = time.monotonic()
    while any(host.answered_us <= begun_us for host in hosts):
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def asked(made: Replicas, *, change: bool) -> float:
    """Seconds that one command takes of which nothing is known beforehand: its channels are new."""
    begun = time.monotonic()
    with connect(made.cli.operator_toml) as controller:
        if change:
            controller.call(
                controller.admin.CreateJoinToken, operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))
            )
        else:
            controller.call(controller.backup.ListVms, operator_pb2.ListVmsRequest())
    return time.monotonic() - begun


async def killed(made: Replicas, hosts: Sequence[FileHost], victim: ReplicaProcess) -> Pauses:
    await asyncio.to_thread(victim.end, signal.SIGKILL)
    begun_us = time.time_ns() // 1000
    found = await asyncio.gather(
        heartbeats(hosts, begun_us),
        asyncio.to_thread(asked, made, change=False),
        asyncio.to_thread(asked, made, change=True),
    )
    return Pauses(*found)


def moving(run: Any) -> bool:
    return bool(run["attempts"]) and run["attempts"][-1]["state"] == "transferring"


def over(run: Any) -> bool:
    return str(run["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


@pytest.mark.slow
async def test_agents_and_operators_go_on_within_seconds_whoever_dies(three: Replicas) -> None:
    """Each of three dies in the middle of backups, the leader last; each run ends with its first attempt. Agents pause as real ones do."""
    async with file_hosts(three, 4, 24_000_000, first_backoff=0.5, longest_backoff=5.0) as hosts:
        assert sum(connections(member) for member in three.members) == len(hosts), "one connection each, to any of them"
        for host in hosts:
            host.slow(True)
        started = (await three.asked("backup", *[f"vm-{number}" for number in range(len(hosts))]))["runs"]
        for run in started:
            await three.until(moving, "run", "show", run["run_id"])
        leader = await three.led()
        for victim in [*(each for each in three.members if each is not leader), leader]:
            served = connections(victim)
            pauses = await killed(three, hosts, victim)
            print(f"{victim.file.stem} (leader: {victim is leader}) served {served} connections: {pauses}")
            assert pauses.heartbeat < BOUND_SECONDS
            assert pauses.read < BOUND_SECONDS
            assert pauses.change < (NO_LEADER_SECONDS if victim is leader else BOUND_SECONDS)
            victim.start()
            await victim.serves()
        for host in hosts:
            host.slow(False)
        for run in started:
            ended = await three.until(over, "run", "show", run["run_id"])
            assert ended["state"] == "succeeded", (ended, three.logs())
            assert len(ended["attempts"]) == 1, ended["attempts"][0]["failure"]
