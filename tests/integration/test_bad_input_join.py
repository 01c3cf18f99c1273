"""Join tokens that are expired, used, guessed or cut; hosts whose clock is wrong; addresses where something else answers."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.control.errors import ClockWrong
from seawall.agent.join import join_host
from seawall.repository.clock import SystemClock
from support.controller_application import Controller, configured, free_port, running
from support.operator_words import Operator


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with running(configured(tmp_path_factory.mktemp("join") / "state")) as started:
        yield started


@pytest.fixture
def operator(controller: Controller) -> Operator:
    return Operator(controller.config.operator_toml)


def a_token(operator: Operator, uses: int = 1) -> str:
    return str(operator("host", "token", "--max-uses", str(uses), "--json").json["token"])


def sql(controller: Controller, text: str) -> None:
    controller.application._database.write_sql(lambda connection: connection.exec_driver_sql(text))


def uses(controller: Controller, token: str) -> int:
    token_id = token.split(":")[3].partition(".")[0]
    query = f"SELECT uses FROM join_tokens WHERE id = '{token_id}'"
    found = controller.application._database.read_sql(lambda connection: connection.exec_driver_sql(query).scalar_one())
    return int(found)


def hosts(operator: Operator) -> int:
    return len(operator("host", "list", "--json").json["hosts"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "nonsense",
        lambda token: token[:40],
        lambda token: token.replace(":", " "),
        lambda token: token[:30] + "\n" + token[30:],
        lambda token: "sw2" + token[3:],
        lambda token: re.sub(r":\d+:", ":0:", token, count=1),
        lambda token: re.sub(r":\d+:", ":99999:", token, count=1),
        lambda token: token + "0" * 1_000_000,
    ],
)
def test_what_is_no_token_makes_no_folder(operator: Operator, tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    text = spoil(a_token(operator))
    state = tmp_path / "agent"
    for words, stdin in (((text,), ""), (("-",), f"{text}\n"), (("-",), "")):
        code, reason, message = operator.refused("agent", "join", *words, "--state-dir", state, stdin=stdin)
        assert (code, reason) == (2, "BAD_TOKEN") and "seawall host token" in message
    assert not state.exists()


def test_a_token_is_used_as_often_as_it_may_be(controller: Controller, operator: Operator, tmp_path: Path) -> None:
    token, before = a_token(operator, uses=2), hosts(operator)
    for name in ("one", "two"):
        assert operator("agent", "join", token, "--state-dir", tmp_path / name).code == 0
    code, reason, message = operator.refused("agent", "join", token, "--state-dir", tmp_path / "three")
    assert (code, reason) == (6, "TOKEN_USED") and "make a new one" in message
    assert (uses(controller, token), hosts(operator)) == (2, before + 2)
    again = operator.refused("agent", "join", token, "--state-dir", tmp_path / "one")
    assert again[:2] == (5, "ALREADY_ENROLLED") and "--force" in again[2]
    assert not (tmp_path / "three" / "identity.json").exists()


def test_expired_and_guessed_tokens_use_nothing_up(controller: Controller, operator: Operator, tmp_path: Path) -> None:
    token, before = a_token(operator), hosts(operator)
    head, pin = token.rsplit(":", 1)
    guessed = f"{head[:-8]}AAAAAAAA:{pin}"
    code, reason, message = operator.refused("agent", "join", guessed, "--state-dir", tmp_path / "guess")
    assert (code, reason) == (6, "TOKEN_UNKNOWN") and "seawall host token" in message
    code, reason, _ = operator.refused("agent", "join", f"{head}:{'0' * 64}", "--state-dir", tmp_path / "guess")
    assert (code, reason) == (6, "CONTROLLER_NOT_TRUSTED")
    sql(controller, "UPDATE join_tokens SET expires_us = 1000000 WHERE uses = 0")
    code, reason, message = operator.refused("agent", "join", token, "--state-dir", tmp_path / "late")
    assert (code, reason) == (6, "TOKEN_EXPIRED") and "1970-01-01" in message and "seawall host token" in message
    assert (uses(controller, token), hosts(operator)) == (0, before)
    fresh = a_token(operator)
    assert operator("agent", "join", fresh, "--state-dir", tmp_path / "late").code == 0, "with the key of the first try"
    assert uses(controller, fresh) == 1


def test_a_key_of_a_join_that_was_cut_short_and_damaged(operator: Operator, tmp_path: Path) -> None:
    state = tmp_path / "agent"
    state.mkdir()
    (state / "join-key.pem").write_bytes(b"\xffgarbage")
    assert operator("agent", "join", a_token(operator), "--state-dir", state).code == 0
    assert not (state / "join-key.pem").exists()


def test_what_answers_is_no_controller(operator: Operator, tmp_path: Path) -> None:
    """A server that speaks plain words is not asked for half a minute."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def asked() -> tuple[int, str, str]:
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            token = re.sub(r":\d+:", f":{port}:", a_token(operator), count=1)
            return await asyncio.to_thread(operator.refused, "agent", "join", token, "--state-dir", tmp_path / "agent")

    code, reason, message = asyncio.run(asked())
    assert (code, reason) == (6, "CONTROLLER_NOT_TRUSTED") and "no TLS" in message
    assert not (tmp_path / "agent" / "identity.json").exists()


class Off(SystemClock):
    """A clock that is days off."""

    def __init__(self, days: int) -> None:
        self._off_us = days * 86_400_000_000

    def now_us(self) -> int:
        return super().now_us() + self._off_us


@pytest.mark.parametrize("days", [-3, 400])
def test_a_wrong_clock_is_told_before_anything_is_sent(
    controller: Controller, operator: Operator, tmp_path: Path, days: int
) -> None:
    token = a_token(operator)
    config = AgentConfig(state_dir=tmp_path / "agent", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch")
    with pytest.raises(ClockWrong, match="valid from") as wrong:
        join_host(config, token, force=False, clock=Off(days))
    assert wrong.value.reason == "CLOCK_WRONG" and "NTP" in wrong.value.next_step
    assert uses(controller, token) == 0
    join_host(config, token, force=False, clock=SystemClock())
    assert uses(controller, token) == 1


def test_states_that_cannot_be_kept(controller: Controller, operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    token = a_token(operator)
    for place in (file, file / "below", Path("/dev/null"), tmp_path / ("y" * 300)):
        code, reason, message = operator.refused("agent", "join", token, "--state-dir", place)
        assert (code, reason) == (2, "BAD_PATH") and str(place) in message
    assert uses(controller, token) == 0
    assert operator("agent", "join", token, "--state-dir", tmp_path / "agent").code == 0


def test_an_operator_at_the_wrong_door(controller: Controller, operator: Operator, tmp_path: Path) -> None:
    right = controller.config.operator_toml.read_text()
    for port, told in ((controller.ports.agent, "no operator port"), (free_port(), "Is it running?")):
        other = tmp_path / f"{port}.toml"
        other.write_text(right.replace(f":{controller.ports.operator}", f":{port}"))
        other.chmod(0o600)
        code, reason, message = Operator(other).refused("status")
        assert (code, reason) == (7, "UNAVAILABLE") and told in message
    for token, reason in (("guessed", "BAD_TOKEN"), ("x" * 4000, "BAD_TOKEN")):
        other.write_text(re.sub(r'token = ".*"', f'token = "{token}"', right))
        assert Operator(other).refused("status")[:2] == (6, reason)
