"""The certificate authority is replaced under two controllers on one PostgreSQL, of which one is killed in the middle."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.control.channel import worker_channel
from seawall.agent.control.identity import Identity, load_identity
from seawall.agent.join import join_host
from seawall.api.v1 import agent_pb2, agent_pb2_grpc
from seawall.repository.clock import SystemClock
from support.postgresql import PostgresServer
from support.replicas import LONGEST_WAIT, ReplicaProcess, Replicas, file_hosts, lease_row_of, replicas

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_both_go_over_and_one_may_die_on_the_way(postgres_server: PostgresServer, tmp_path: Path) -> None:
    address = postgres_server.new_database()
    async with (
        replicas(tmp_path, address.url, lease_row_of(lambda: postgres_server, address)) as made,
        file_hosts(made, 2) as hosts,
    ):
        absent = await absent_host(made, tmp_path / "absent")
        before = [each.host.identity for each in hosts]
        await made.until(lambda _: True, "controller", "ca", "rotate", "--yes")
        await made.until(only_absent_is_behind, "controller", "ca", "show")
        leader = await made.led()
        leader.end(signal.SIGKILL)
        await asyncio.wait_for(made.led(but=leader), LONGEST_WAIT)
        await made.until(lambda found: found["phase"] == "trusting", "controller", "ca", "show")
        await made.until(lambda _: True, "controller", "ca", "rotate", "--yes", "--without", absent.host_name)
        await made.until(lambda found: found["phase"] == "settled", "controller", "ca", "show")
        leader.start()
        await asyncio.wait_for(leader.serves(), LONGEST_WAIT)
        first, second = [await following(each) for each in made.members]
        assert first == second and first["present"]["number"] == 2 and not first["other"]
        for host, old in zip(hosts, before, strict=True):
            assert host.host.identity.agent_id == old.agent_id
            for member in made.members:
                port = member.config.agent_listen
                assert await asyncio.to_thread(answer, host.host.identity, port) is grpc.StatusCode.FAILED_PRECONDITION
                assert await asyncio.to_thread(answer, old, port) is grpc.StatusCode.UNAVAILABLE, "the old one counts"
        (run,) = (await made.asked("backup", "vm-0"))["runs"]
        ended = await made.until(
            lambda found: found["state"] not in ("ready", "active"), "run", "show", str(run["run_id"])
        )
        assert ended["state"] == "succeeded", ended


def only_absent_is_behind(found: Any) -> bool:
    return found["phase"] == "trusting" and [each["name"] for each in found["behind"]] == ["absent"]


async def absent_host(made: Replicas, folder: Path) -> AgentConfig:
    """Joined, and never started."""
    config = AgentConfig(
        state_dir=folder / "state", run_dir=folder / "run", scratch_dir=folder / "scratch", host_name="absent"
    )
    token = (await made.asked("host", "token"))["token"]
    await asyncio.to_thread(join_host, config, token, force=False, clock=SystemClock())
    assert load_identity(config.state_dir).host_name == "absent"
    return config


async def following(member: ReplicaProcess) -> Any:
    """What its state directory holds, once the rotation is over there."""
    async with asyncio.timeout(LONGEST_WAIT):
        while True:
            kept = json.loads(member.config.paths.authority.read_text())
            if kept["phase"] == "SETTLED":
                return kept
            await asyncio.sleep(0.05)


def answer(identity: Identity, address: str) -> grpc.StatusCode:
    """Of the controller at this address, to a heartbeat of a session that it does not know; UNAVAILABLE: no handshake."""
    with worker_channel(identity, (address,)) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id="none"), timeout=10)
        code: grpc.StatusCode = caught.value.code()
        return code
