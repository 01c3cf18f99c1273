"""Three controllers on one PostgreSQL, agents spread over them: each is killed, or stands still, in turn, and nobody waits for long."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seawall.api.standing_still import ANSWER_SECONDS, LOOK_SECONDS
from seawall.api.v1 import operator_pb2
from seawall.cli import connection
from seawall.cli.connection import Controller, connect
from seawall.cli.exits import CommandError, Exit
from support.postgresql import PostgresServer
from support.replicas import FileHost, ReplicaProcess, Replicas, file_hosts, lease_row_of, replicas

ESTABLISHED = "01"
BOUND_SECONDS = 5.0
NO_LEADER_SECONDS = {signal.SIGKILL: 8.0, signal.SIGSTOP: 24.0}
"""Until a change is taken without the leader: 3 s to see that its process is gone, 15 s of a lease that is not renewed; then its
successor's start."""

BEARS_SECONDS = LOOK_SECONDS + ANSWER_SECONDS
"""An agent leaves a controller that stands still after so much silence, and bears twice as much each time that it left another one less
than a minute before: controllers that are slow are not buried under handshakes."""


@pytest.fixture
async def three(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    """With the lease that a real controller has."""
    address = postgres_server.new_database()
    async with replicas(tmp_path, address.url, lease_row_of(lambda: postgres_server, address), 3, 15.0) as made:
        yield made


@dataclass
class Pauses:
    """Seconds from the end of a controller to the first answer to everybody. All that operators ask, they ask of that one first."""

    heartbeat: float
    read: float
    kept_read: float
    watch: float
    change: float


class First:
    """In place of the command line's chance: this address is asked before the others."""

    def __init__(self, address: str) -> None:
        self.address = address

    def shuffle(self, addresses: list[str]) -> None:
        addresses.sort(key=lambda each: each != self.address)


def connections(member: ReplicaProcess) -> int:
    """Of agents' supervisors and workers, to this controller."""
    port = int(member.config.agent_listen.rpartition(":")[2])
    tables = ("/proc/net/tcp", "/proc/net/tcp6")
    rows = [line.split() for table in tables for line in Path(table).read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


def heartbeat_bound(how: signal.Signals, stopped_before: int) -> float:
    """Seconds until every agent has its answer; some may have left all the controllers that were stopped before."""
    borne = BEARS_SECONDS * 2**stopped_before if how is signal.SIGSTOP else BEARS_SECONDS
    return BOUND_SECONDS - BEARS_SECONDS + borne


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


def asked_again(controller: Controller) -> float:
    """Seconds that a read takes of somebody who was connected before."""
    begun = time.monotonic()
    controller.call(controller.backup.ListVms, operator_pb2.ListVmsRequest())
    return time.monotonic() - begun


def watched_again(controller: Controller, watch: Iterator[Any]) -> float:
    """Seconds until a stream that was open has its successor, of another controller."""
    begun = time.monotonic()
    with pytest.raises(CommandError) as caught:
        for _ in watch:
            assert time.monotonic() - begun < 2 * BOUND_SECONDS, "it neither ends nor stands still"
    assert caught.value.code == Exit.UNREACHABLE
    next(controller.stream(controller.backup.WatchRuns, operator_pb2.WatchRunsRequest(all=True)))
    return time.monotonic() - begun


async def ended(
    made: Replicas, hosts: Sequence[FileHost], victim: ReplicaProcess, how: signal.Signals, patch: pytest.MonkeyPatch
) -> Pauses:
    patch.setattr(connection, "_random", First(victim.config.operator_listen))
    with connect(made.cli.operator_toml) as controller, connect(made.cli.operator_toml) as watching:
        await asyncio.to_thread(asked_again, controller)
        watch = watching.stream(watching.backup.WatchRuns, operator_pb2.WatchRunsRequest(all=True))
        await asyncio.to_thread(next, watch)
        victim.send(how)
        begun_us = time.time_ns() // 1000
        found = await asyncio.gather(
            heartbeats(hosts, begun_us),
            asyncio.to_thread(asked, made, change=False),
            asyncio.to_thread(asked_again, controller),
            asyncio.to_thread(watched_again, watching, watch),
            asyncio.to_thread(asked, made, change=True),
        )
    return Pauses(*found)


def moving(run: Any) -> bool:
    return bool(run["attempts"]) and run["attempts"][-1]["state"] == "transferring"


def over(run: Any) -> bool:
    return str(run["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_agents_and_operators_go_on_within_seconds_whoever_is_gone(
    three: Replicas, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three in the middle of backups, the leader last; each run ends with its first attempt. Agents pause as real ones do."""
    async with file_hosts(three, 4, 60_000_000, first_backoff=0.5, longest_backoff=5.0) as hosts:
        assert sum(connections(member) for member in three.members) == len(hosts), "one connection each, to any of them"
        for host in hosts:
            host.hold(True)
        started = (await three.asked("backup", *[f"vm-{number}" for number in range(len(hosts))]))["runs"]
        for run in started:
            await three.until(moving, "run", "show", run["run_id"])
        for host in hosts:
            host.slow(True)
            host.hold(False)
        leader = await three.led()
        for number, victim in enumerate([*(each for each in three.members if each is not leader), leader]):
            served = connections(victim)
            pauses = await ended(three, hosts, victim, how, monkeypatch)
            print(f"{how.name} {victim.file.stem} (leader: {victim is leader}) served {served} connections: {pauses}")
            assert pauses.heartbeat < heartbeat_bound(how, number)
            assert max(pauses.read, pauses.kept_read, pauses.watch) < BOUND_SECONDS
            assert pauses.change < (NO_LEADER_SECONDS[how] if victim is leader else BOUND_SECONDS)
            if how is signal.SIGKILL:
                await asyncio.to_thread(victim.end)
                victim.start()
            else:
                victim.send(signal.SIGCONT)
            await victim.serves()
        for host in hosts:
            host.slow(False)
        for run in started:
            shown = await three.until(over, "run", "show", run["run_id"])
            assert shown["state"] == "succeeded", (shown, three.logs())
            assert len(shown["attempts"]) == 1, shown["attempts"][0]["failure"]
