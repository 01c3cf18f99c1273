"""Two controllers on one PostgreSQL: one leads, the other answers reads and waits; either may die at any moment."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from seawall.controller.operator_access import OperatorAccess
from support.postgresql import PostgresServer
from support.replicas import LEASE_SECONDS, FileHost, ReplicaProcess, Replicas, file_hosts, lease_row_of, replicas


@pytest.fixture
async def pair(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    address = postgres_server.new_database()
    async with replicas(tmp_path, address.url, lease_row_of(lambda: postgres_server, address)) as made:
        yield made


def other(made: Replicas, leader: ReplicaProcess) -> ReplicaProcess:
    return next(each for each in made.members if each is not leader)


def over(answer: Any) -> bool:
    return str(answer["state"]) in ("succeeded", "succeeded_with_warnings", "failed", "canceled")


def transferring(run: Any) -> bool:
    return bool(run["attempts"]) and run["attempts"][-1]["state"] == "transferring"


async def restored_whole(made: Replicas, host: FileHost, point_id: str) -> bool:
    run = (await made.asked("restore", point_id, "--to", host.name, "--as", "copy"))["runs"][0]
    ended = await made.until(over, "run", "show", run["run_id"])
    assert ended["state"] == "succeeded", ended
    return host.image.read_bytes() in host.restored()


async def test_the_leader_dies_in_the_middle_of_a_backup(pair: Replicas) -> None:
    async with file_hosts(pair, 1, 6_000_000) as (host,):
        host.slow(True)
        (run,) = (await pair.asked("backup", "vm-0"))["runs"]
        await pair.until(transferring, "run", "show", run["run_id"])
        leader = await pair.led()
        shown = (await pair.asked("status"))["replicas"]
        assert {each["operator_address"]: each["leads"] for each in shown} == {
            each.config.operator_listen: each is leader for each in pair.members
        }
        leader.end(signal.SIGKILL)
        host.slow(False)
        assert (await pair.asked("vm", "list"))["vms"], "the other one answers reads at once"
        await asyncio.wait_for(pair.led(but=leader), 30)
        ended = await pair.until(over, "run", "show", run["run_id"])
        assert ended["state"] == "succeeded", ended
        assert len(ended["attempts"]) == 1, ended["attempts"][0]["failure"]
        points = (await pair.asked("point", "list"))["points"]
        assert [point["point_id"] for point in points] == [run["run_id"]]
        assert await restored_whole(pair, host, run["run_id"])


@pytest.mark.slow
async def test_a_leader_that_stood_still_writes_nothing_afterwards(pair: Replicas) -> None:
    async with file_hosts(pair, 1) as (host,):
        leader = await pair.led()
        leader.send(signal.SIGSTOP)
        successor = await asyncio.wait_for(pair.led(but=leader), 60)
        row = pair.lease_row()
        (run,) = (await pair.asked("backup", "vm-0"))["runs"]
        await asyncio.sleep(5 * LEASE_SECONDS)
        leader.send(signal.SIGCONT)
        while "controller.lost_the_lead" not in leader.log:
            await asyncio.sleep(0.05)
        ended = await pair.until(over, "run", "show", run["run_id"])
        assert ended["state"] == "succeeded", ended
        assert pair.lease_row() == row
        assert pair.leader() is successor
        assert "point.published" not in leader.log
        successor.end(signal.SIGKILL)
        assert await asyncio.wait_for(pair.led(but=successor), 60) is leader, "it waits for its turn again"
        assert await restored_whole(pair, host, run["run_id"])


@pytest.mark.slow
async def test_an_orderly_stop_hands_the_lead_over_at_once(pair: Replicas) -> None:
    leader = await pair.led()
    begun = time.monotonic()
    assert await asyncio.to_thread(leader.end, signal.SIGTERM) == 0
    await asyncio.wait_for(pair.led(but=leader), 30)
    assert time.monotonic() - begun < 10
    assert await pair.asked("repo", "list")


@pytest.mark.slow
async def test_a_change_asked_of_one_that_does_not_lead_names_the_leader(pair: Replicas, tmp_path: Path) -> None:
    leader = await pair.led()
    standby = other(pair, leader)
    file = tmp_path / "standby.toml"
    access = pair.cli.operator_toml.read_text() if pair.cli.operator_toml else ""
    address = OperatorAccess.parse(access).address
    file.write_text(access.replace(address, standby.config.operator_listen))
    assert (await pair.seawall("host", "list", "--config", str(file))).code == 0
    refused = await pair.seawall("host", "token", "--json", "--config", str(file))
    assert refused.reason == "NOT_LEADER"
    assert leader.config.operator_listen in refused.out


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_controllers_die_at_random_while_hosts_back_up(pair: Replicas, seed: int) -> None:
    """Each dies several times, leading or not; every run ends with one point that restores byte for byte."""
    chance = random.Random(seed)
    async with file_hosts(pair, 3) as hosts:
        names = [f"vm-{number}" for number in range(len(hosts))]
        points: dict[str, list[str]] = {}
        for generation in range(3):
            for host in hosts:
                with host.image.open("r+b") as image:
                    image.seek(chance.randrange(400_000))
                    image.write(chance.randbytes(100_000))
            runs = {run["vm_name"]: run["run_id"] for run in (await pair.asked("backup", *names))["runs"]}
            for _ in range(2):
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                victim = chance.choice([each for each in pair.members if each.process is not None])
                await asyncio.to_thread(victim.end, signal.SIGKILL)
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                victim.start()
            for name, run_id in runs.items():
                ended = await pair.until(over, "run", "show", run_id)
                assert ended["state"] == "succeeded", (generation, ended, pair.logs())
                points.setdefault(name, []).append(run_id)
        listed = (await pair.until(lambda _: True, "point", "list"))["points"]
        assert sorted(point["point_id"] for point in listed) == sorted(
            each for found in points.values() for each in found
        )
        for number, host in enumerate(hosts):
            assert await restored_whole(pair, host, points[f"vm-{number}"][-1])


@pytest.mark.slow
async def test_a_database_that_is_away_is_waited_for(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """Readiness turns red, nothing crashes, work goes on when it is back."""
    address = own_postgres.new_database()
    async with (
        replicas(tmp_path, address.url, lease_row_of(lambda: own_postgres, address)) as made,
        file_hosts(made, 1) as (host,),
    ):
        own_postgres.stop()
        for each in made.members:
            while await asyncio.to_thread(each.health) != health_pb2.HealthCheckResponse.NOT_SERVING:
                await asyncio.sleep(0.05)
        refused = await made.seawall("vm", "list", "--json")
        assert refused.reason == "DATABASE"
        await asyncio.sleep(2 * LEASE_SECONDS)
        own_postgres.start()
        for each in made.members:
            while await asyncio.to_thread(each.health) != health_pb2.HealthCheckResponse.SERVING:
                await asyncio.sleep(0.05)
        await asyncio.wait_for(made.led(), 60)
        (run,) = (await made.until(lambda _: True, "backup", "vm-0"))["runs"]
        assert (await made.until(over, "run", "show", run["run_id"]))["state"] == "succeeded"
        assert await restored_whole(made, host, run["run_id"])
        assert all(each.process is not None and each.process.poll() is None for each in made.members)
