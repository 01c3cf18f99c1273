"""The certificate authority is replaced under way: controller, agents and command line are all real, over mTLS."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from seawall.agent.control.channel import worker_channel
from seawall.agent.control.identity import PENDING_KEY, Identity
from seawall.api.v1 import agent_pb2, agent_pb2_grpc
from seawall.controller.certificates.generation import root_id_of
from support.agent_file_joined import joined
from support.agent_host import AgentHost
from support.controller_application import BRISK, Controller, configured, free_port, running
from support.operator_words import Operator


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "controller")) as controller:
        yield controller


@pytest.fixture
def operator(controller: Controller) -> Operator:
    return Operator(controller.config.operator_toml)


@asynccontextmanager
async def serving(host: AgentHost, operator: Operator) -> AsyncIterator[None]:
    """The host is online, as the controller says."""
    async with host.running():
        await until(operator, ("status",), lambda found: found["hosts_online"] == 1)
        yield


async def until(operator: Operator, words: tuple[str, ...], holds: Any) -> Any:
    async with asyncio.timeout(60):
        while True:
            answer = await asyncio.to_thread(operator, *words, "--json")
            if answer.code == 0 and holds(answer.json):
                return answer.json
            await asyncio.sleep(0.05)


async def phase(operator: Operator, wanted: str) -> Any:
    return await until(operator, ("controller", "ca", "show"), lambda found: found["phase"] == wanted)


async def trusting(host: AgentHost, roots: int) -> None:
    async with asyncio.timeout(60):
        while len(host.identity.trusted_sha256) != roots:
            await asyncio.sleep(0.02)


async def rotated(operator: Operator, *words: str) -> Any:
    ordered = await asyncio.to_thread(operator, "controller", "ca", "rotate", "--yes", *words, "--json")
    assert ordered.code == 0, ordered.err
    return await phase(operator, "settled")


def answered(identity: Identity) -> bool:
    """Whether the controller talks with whoever shows this identity at all."""
    with worker_channel(identity) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)
        try:
            stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id="none"), timeout=5)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.FAILED_PRECONDITION)
        return True


async def test_hosts_go_over_to_the_new_one_and_the_old_one_is_worthless(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    host = await joined(controller, tmp_path)
    state, before = controller.config.paths, host.identity
    old = state.root_certificate.read_text()
    async with serving(host, operator):
        assert answered(before)
        found = await rotated(operator)
        assert [root["role"] for root in found["roots"]] == ["signs"] and found["hosts_total"] == 1
        after = host.identity
        assert after.agent_id == before.agent_id and after.private_key_pem != before.private_key_pem
        assert (after.ca_bundle_pem, before.ca_bundle_pem) == (state.root_certificate.read_text(), old)
        assert answered(after) and not await asyncio.to_thread(answered, before)
        assert (await asyncio.to_thread(operator, "status", "--json")).json["hosts_online"] == 1
    kept = json.loads(state.authority.read_text())
    assert kept["present"]["number"] == 2 and not kept["other"], "no key of the old one is left"
    assert not state.issuing_key.exists() and not state.root_key.exists()
    assert operator("host", "list", "--json").json["hosts"][0]["host_id"] == before.agent_id


async def test_a_host_that_is_away_is_waited_for_and_named(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    host = await joined(controller, tmp_path)
    planned = operator("controller", "ca", "rotate", "--plan", "--json").json
    assert planned["phase"] == "settled" and [each["name"] for each in planned["behind"]] == ["alpha"]
    assert operator("controller", "ca", "rotate", "--yes").code == 0
    waiting = operator("controller", "ca", "show").out
    assert "step 1 of 2" in waiting and "alpha" in waiting and "start its agent" in waiting and "revoke" in waiting
    async with serving(host, operator):
        await phase(operator, "settled")
    assert host.identity.ca_bundle_pem == controller.config.paths.root_certificate.read_text()


async def test_one_that_was_left_out_recovers_when_it_comes_back(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    host = await joined(controller, tmp_path)
    before = host.identity
    found = await rotated(operator, "--without", "alpha")
    assert found["hosts_total"] == 1, "it counts again for the next one"
    assert not await asyncio.to_thread(answered, before)
    await rotated(operator, "--without", "alpha")  # and once more: two links lead to the present root
    async with serving(host, operator):
        pass
    after = host.identity
    assert after.agent_id == before.agent_id
    assert after.ca_bundle_pem == controller.config.paths.root_certificate.read_text()


async def test_one_that_was_told_and_then_stopped_recovers_too(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    """It trusts the new root already, and its certificate is of the old one."""
    host = await joined(controller, tmp_path)
    absent = await joined(controller, tmp_path / "absent")  # holds the first step up
    async with serving(host, operator):
        assert operator("controller", "ca", "rotate", "--yes").code == 0
        await trusting(host, 2)
    ids = [host.identity.agent_id, absent.identity.agent_id]
    found = await rotated(operator, "--without", ids[0], "--without", ids[1])
    assert found["phase"] == "settled" and not await asyncio.to_thread(answered, host.identity)
    async with serving(host, operator):  # its lease of before may still count as online
        await trusting(host, 1)


async def test_one_that_ran_all_the_time_and_was_only_out_of_touch_recovers_too(tmp_path: Path) -> None:
    """No Hello of its own would tell it; and a disk that refuses its new key for a while ends nothing."""
    config = configured(tmp_path / "controller")
    timings = replace(BRISK, lease_ttl_seconds=1.0)
    unreached = replace(config, operator_listen=f"127.0.0.1:{free_port()}", agent_listen=f"127.0.0.1:{free_port()}")
    unreached_toml = tmp_path / "unreached.toml"
    words = config.operator_toml.read_text().replace(config.operator_listen, unreached.operator_listen)
    unreached_toml.write_text(words)
    async with AsyncExitStack() as stack:
        with running(config, timings) as controller:
            host = await joined(controller, tmp_path)
            supervisor = await stack.enter_async_context(host.running())
            await until(Operator(config.operator_toml), ("status",), lambda found: found["hosts_online"] == 1)
        with running(unreached, timings):
            await rotated(Operator(unreached_toml), "--without", "alpha")
        in_the_way = host.config.state_dir / PENDING_KEY
        in_the_way.mkdir()
        root = config.paths.root_certificate.read_text()
        with running(config, timings):
            async with asyncio.timeout(60):
                while str(in_the_way) not in supervisor.health().last_error:
                    await asyncio.sleep(0.02)
                in_the_way.rmdir()
                while host.identity.ca_bundle_pem != root or not supervisor.health().connected:
                    await asyncio.sleep(0.02)


async def test_the_key_of_the_root_may_come_back_for_the_rotation(tmp_path: Path) -> None:
    """The database has the authority without it."""
    config = configured(tmp_path / "controller")
    operator, elsewhere = Operator(config.operator_toml), tmp_path / "root.key"
    config.paths.root_key.rename(elsewhere)
    with running(config):
        assert operator.refused("controller", "ca", "rotate", "--yes")[1] == "ROOT_KEY_MISSING"
    elsewhere.rename(config.paths.root_key)
    with running(config):
        await rotated(operator)


async def test_a_controller_that_is_killed_in_each_step_goes_on(tmp_path: Path) -> None:
    config = configured(tmp_path / "controller")
    operator = Operator(config.operator_toml)
    with running(config) as controller:
        host = await joined(controller, tmp_path)
        assert operator("controller", "ca", "rotate", "--yes").code == 0
        begun = operator("controller", "ca", "show", "--json").json
    with running(config) as controller:
        assert operator("controller", "ca", "show", "--json").json["roots"] == begun["roots"]
        async with serving(host, operator):
            await phase(operator, "settled")
    with running(config):
        async with serving(host, operator):
            assert operator("controller", "ca", "show", "--json").json["roots"][0]["role"] == "signs"
    (trusted,) = host.identity.trusted_sha256
    assert trusted.hex() == root_id_of(config.paths.root_certificate.read_text())


async def test_an_old_database_put_back_is_told_by_the_state_directory(tmp_path: Path) -> None:
    config = configured(tmp_path / "controller")
    operator = Operator(config.operator_toml)
    with running(config) as controller:
        host = await joined(controller, tmp_path)
    shutil.copy(config.paths.database, tmp_path / "old.db")
    with running(config):
        async with serving(host, operator):
            await rotated(operator)
    for path in config.paths.database.parent.glob(f"{config.paths.database.name}*"):
        path.unlink()
    shutil.copy(tmp_path / "old.db", config.paths.database)
    with running(config):
        async with serving(host, operator):
            assert len(operator("controller", "ca", "show", "--json").json["roots"]) == 1
    assert host.identity.ca_bundle_pem == config.paths.root_certificate.read_text()


async def test_it_can_be_taken_back_while_nothing_is_signed(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    host = await joined(controller, tmp_path)
    before = host.identity.ca_bundle_pem
    assert operator.refused("controller", "ca", "cancel")[:2] == (5, "NO_ROTATION")
    assert operator.refused("controller", "ca", "rotate")[:2] == (2, "NOT_CONFIRMED")
    assert operator("controller", "ca", "rotate", "--yes").code == 0
    assert operator("controller", "ca", "cancel").code == 0
    async with serving(host, operator):
        assert host.identity.ca_bundle_pem == before
    assert operator.refused("controller", "ca", "rotate", "--without", "nobody", "--yes")[:2] == (4, "HOST_UNKNOWN")


async def test_operators_files_are_followed_and_brought_up_to_date(
    controller: Controller, operator: Operator, tmp_path: Path
) -> None:
    mine, foreign = tmp_path / "mine.toml", tmp_path / "foreign.toml"
    shutil.copy(controller.config.operator_toml, mine)
    mine.write_text("# mine\n" + mine.read_text())
    mine.chmod(0o640)
    with running(configured(tmp_path / "other")) as other:
        ca_of_other = other.config.paths.root_certificate.read_text().strip()
    old = controller.config.paths.root_certificate.read_text().strip()
    foreign.write_text(mine.read_text().replace(old, ca_of_other))
    await rotated(operator)
    answer = Operator(mine)("status")
    assert answer.code == 0 and "brought up to date" in answer.err
    new = controller.config.paths.root_certificate.read_text().strip()
    assert new in mine.read_text() and old not in mine.read_text() and mine.read_text().startswith("# mine\n")
    assert mine.stat().st_mode & 0o777 == 0o640
    assert Operator(mine)("status").err == ""
    assert Operator(foreign).refused("status")[1] == "WRONG_CA"
