"""Enrolment: a token becomes an identity, or nothing is believed and nothing is written."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.control.errors import AlreadyEnrolled, ControllerRefused, NotTrusted, TooManyTries
from seawall.agent.control.identity import Identity
from seawall.agent.join import BadToken, join_host
from seawall.api.join_token import JoinToken
from seawall.repository.clock import SystemClock
from support.agent_certificates import Authority
from support.agent_host import AgentHost
from support.scripted_controller import ScriptedController


@pytest.fixture
async def controller() -> AsyncIterator[ScriptedController]:
    async with ScriptedController().serving() as serving:
        serving.tokens["token"] = "secret"
        yield serving


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return AgentConfig(state_dir=tmp_path / "state", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch")


def token(controller: ScriptedController, pin: bytes | None = None, secret: str = "secret") -> str:
    return JoinToken(controller.enrolment_address, "token", secret, pin or controller.authority.root_sha256).render()


async def joined(config: AgentConfig, text: str, *, force: bool = False, said: list[str] | None = None) -> Identity:
    lines: list[str] = [] if said is None else said
    return await asyncio.to_thread(join_host, config, text, force=force, clock=SystemClock(), say=lines.append)


async def test_a_joined_host_opens_a_session(controller: ScriptedController, config: AgentConfig) -> None:
    identity = await joined(config, token(controller))
    assert identity.address == controller.address
    assert sorted(path.name for path in config.state_dir.iterdir()) == ["identity.json", "join.lock"]
    async with AgentHost(config).running():
        await controller.until(lambda: controller.heartbeats > 0)


async def test_the_name_given_at_the_join_is_kept_unless_another_is_configured(
    controller: ScriptedController, config: AgentConfig
) -> None:
    await joined(replace(config, host_name="rack7"), token(controller))
    async with AgentHost(config).running():
        await controller.until(lambda: len(controller.hellos) == 1)
    async with AgentHost(replace(config, host_name="rack8")).running():
        await controller.until(lambda: len(controller.hellos) == 2)
    assert [hello.host_name for hello in controller.hellos] == ["rack7", "rack8"]


async def test_waiting_is_announced(controller: ScriptedController, config: AgentConfig) -> None:
    controller.lose_answers["Enroll"] = 2
    said: list[str] = []
    await joined(config, token(controller), said=said)
    assert controller.enrolment_address in said[0]
    assert ["No answer yet" in line for line in said] == [False, True]


async def test_too_many_tries_is_said_at_once(controller: ScriptedController, config: AgentConfig) -> None:
    controller.refuse["Enroll"] = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES")
    async with asyncio.timeout(10):
        with pytest.raises(TooManyTries, match="no"):
            await joined(config, token(controller))


async def test_a_wrong_pin_is_refused_before_the_secret_is_sent(
    controller: ScriptedController, config: AgentConfig
) -> None:
    with pytest.raises(NotTrusted):
        await joined(config, token(controller, secrets.token_bytes(32)))
    assert controller.enrolled == {} and not (config.state_dir / "identity.json").exists()


async def test_a_server_that_only_shows_the_pinned_root_is_refused(
    controller: ScriptedController, config: AgentConfig
) -> None:
    """The impostor serves its own certificate with the true root beside it: gRPC's verification against that root fails."""
    impostor = ScriptedController(authority=_Impostor(controller.authority))
    async with impostor.serving():
        text = JoinToken(impostor.enrolment_address, "token", "secret", controller.authority.root_sha256).render()
        with pytest.raises(Exception, match="gave up"):
            await asyncio.to_thread(_join_quickly, config, text)
    assert impostor.enrolled == {}


async def test_a_lost_answer_costs_nothing(controller: ScriptedController, config: AgentConfig) -> None:
    controller.lose_answers["Enroll"] = 2
    await joined(config, token(controller))
    assert len(controller.enrolled) == 1


async def test_an_unfinished_join_goes_on_with_its_key(controller: ScriptedController, config: AgentConfig) -> None:
    with pytest.raises(ControllerRefused) as refused:
        await joined(config, token(controller, secret="mistyped"))
    assert refused.value.reason == "TOKEN_UNKNOWN"
    key = (config.state_dir / "join-key.pem").read_text()
    assert (config.state_dir / "join-key.pem").stat().st_mode & 0o777 == 0o600
    assert (await joined(config, token(controller))).private_key_pem == key


async def test_a_second_join_needs_force(controller: ScriptedController, config: AgentConfig) -> None:
    first = await joined(config, token(controller))
    with pytest.raises(AlreadyEnrolled, match=first.agent_id):
        await joined(config, token(controller))
    assert (await joined(config, token(controller), force=True)).agent_id != first.agent_id


async def test_what_is_no_token_is_refused_without_repeating_it(config: AgentConfig) -> None:
    with pytest.raises(BadToken) as error:
        await joined(config, "sw1:host:1:id.sesame")
    assert "sesame" not in str(error.value)


class _Impostor(Authority):
    """Has a CA of its own and shows somebody else's root."""

    def __init__(self, victim: Authority) -> None:
        super().__init__()
        self._victim = victim

    def server(self) -> tuple[bytes, bytes]:
        key, chain = super().server()
        return key, chain + self._victim.root_pem


def _join_quickly(config: AgentConfig, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.agent.join.RETRY_SECONDS", 0.5)
        join_host(config, text, force=False, clock=SystemClock())
