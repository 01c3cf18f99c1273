"""Hosts that were away for longer than their certificate lasts, and hosts that were revoked: agent and controller, both real."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from seawall.agent.control.channel import worker_channel
from seawall.agent.control.errors import ControllerRefused, NotTrusted
from seawall.agent.control.identity import PENDING_KEY, load_identity, new_private_key, save_identity
from seawall.agent.control.recovery import recover
from seawall.api.v1 import agent_pb2, agent_pb2_grpc
from support.agent_file_joined import joined
from support.agent_host import AgentHost
from support.controller_application import Controller, configured, running
from support.operator_words import Operator


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "controller")) as controller:
        yield controller


@pytest.fixture
async def host(controller: Controller, tmp_path: Path) -> AgentHost:
    """Joined, and then away until its certificate had ended."""
    host = await joined(controller, tmp_path)
    identity = host.identity
    key = load_pem_private_key(identity.private_key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ended = controller.application._authority.issue_agent(identity.agent_id, key.public_key(), life_seconds=-1.0)
    save_identity(host.config.state_dir, replace(identity, certificate_pem=ended.chain_pem.decode()))
    assert host.identity.expired(time.time_ns() // 1000)
    return host


@pytest.fixture
def operator(controller: Controller) -> Operator:
    return Operator(controller.config.operator_toml)


async def online(operator: Operator) -> None:
    async with asyncio.timeout(60):
        while (await asyncio.to_thread(operator, "status", "--json")).json["hosts_online"] != 1:
            await asyncio.sleep(0.05)


async def test_it_comes_back_as_the_same_host(host: AgentHost, operator: Operator) -> None:
    before = host.identity
    async with host.running():
        await online(operator)
    after = host.identity
    assert (after.agent_id, after.host_name) == (before.agent_id, before.host_name)
    assert after.private_key_pem != before.private_key_pem
    assert after.lifetime()[1] > before.lifetime()[1]
    assert not (host.config.state_dir / PENDING_KEY).exists()
    assert len(operator("host", "list", "--json").json["hosts"]) == 1


async def test_an_answer_that_was_lost_keeps_nobody_out(host: AgentHost, tmp_path: Path) -> None:
    """The controller bound the new key, and the host never heard of it: it proves that one, which it had kept before it asked."""
    kept = tmp_path / "kept"
    shutil.copytree(host.config.state_dir, kept)
    renewed = await asyncio.to_thread(recover, host.identity, host.config.state_dir)
    (kept / PENDING_KEY).write_text(renewed.private_key_pem)
    again = await asyncio.to_thread(recover, load_identity(kept), kept)
    assert again.agent_id == renewed.agent_id and again.private_key_pem == renewed.private_key_pem
    shutil.copy(kept / "identity.json", host.config.state_dir)
    assert host.identity == again


async def test_only_the_registered_key_recovers(host: AgentHost, controller: Controller, operator: Operator) -> None:
    """Not a key of somebody's own, and not the old one once a new one was given out."""
    thief = replace(host.identity, private_key_pem=new_private_key())
    with pytest.raises(ControllerRefused) as refused:
        await asyncio.to_thread(recover, thief, host.config.state_dir / "elsewhere")
    assert refused.value.reason == "RECOVERY_REFUSED" and "seawall agent join" in str(refused.value)
    old = host.identity
    await asyncio.to_thread(recover, old, host.config.state_dir)
    with pytest.raises(ControllerRefused):
        await asyncio.to_thread(recover, old, host.config.state_dir / "elsewhere")
    unknown = replace(host.identity, agent_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(ControllerRefused) as same:
        await asyncio.to_thread(recover, unknown, host.config.state_dir / "elsewhere")
    assert (same.value.reason, str(same.value)) == (refused.value.reason, str(refused.value))


async def test_a_revoked_host_does_not_come_back(host: AgentHost, operator: Operator) -> None:
    asked = operator.refused("host", "revoke", "alpha")
    assert asked[:2] == (2, "NOT_CONFIRMED") and "--yes" in asked[2]
    answer = operator("host", "revoke", "alpha", "--yes", "--json")
    assert answer.code == 0 and answer.json["host"]["revoked"]
    assert operator("host", "revoke", "alpha", "--yes").code == 0, "repeatable"
    assert operator("host", "list").out.count("revoked") == 1
    with pytest.raises(NotTrusted, match="revoked"):
        await asyncio.to_thread(recover, host.identity, host.config.state_dir)


async def test_revoking_is_felt_within_five_seconds(host: AgentHost, operator: Operator) -> None:
    identity = await asyncio.to_thread(recover, host.identity, host.config.state_dir)
    with worker_channel(identity) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)

        def refused_with() -> str:
            try:
                stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id="none"), timeout=5)
            except Exception as error:
                return str(error)
            return ""

        assert "SESSION_UNKNOWN" in refused_with() or "session" in refused_with()
        assert operator("host", "revoke", "alpha", "--yes").code == 0
        began = time.monotonic()
        while "revoked" not in refused_with():
            assert time.monotonic() - began < 5.5
            await asyncio.sleep(0.05)
