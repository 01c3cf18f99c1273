"""Finding and reading operator.toml: every mistake has a message that names the file."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc import aio

from seawall.cli.connection import CHANNEL_OPTIONS, MAX_MESSAGE_BYTES, Controller, connection_cause
from seawall.cli.exits import MEANING, CommandError, Exit
from seawall.cli.operator_config import OperatorConfig, find_config, load_config

ROOT = Path(__file__).resolve().parents[2]


def test_the_option_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").touch()
    (tmp_path / "b.toml").touch()
    monkeypatch.setenv("SEAWALL_CONFIG", str(tmp_path / "b.toml"))
    assert find_config(tmp_path / "a.toml") == tmp_path / "a.toml"
    assert find_config(None) == tmp_path / "b.toml"


def test_then_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEAWALL_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "seawall").mkdir()
    (tmp_path / "seawall" / "operator.toml").touch()
    assert find_config(None) == tmp_path / "seawall" / "operator.toml"


def test_a_named_file_that_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no operator configuration at") as caught:
        find_config(tmp_path / "missing.toml")
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not valid TOML"),
        ('address = "a:1"\nca_pem = "x"\n', "has no `token`"),
        ('address = "a:1"\nca_pem = "x"\ntoken = 5\n', "has no `token`"),
        ('address = "a:1"\nca_pem = "x"\ntoken = "t"\ncolour = "red"\n', "unknown keys: colour"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "operator.toml"
    path.write_text(text)
    with pytest.raises(CommandError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_the_token_does_not_show(tmp_path: Path) -> None:
    path = tmp_path / "operator.toml"
    path.write_text('address = "a:1"\nca_pem = "x"\ntoken = "hush"\n')
    assert "hush" not in repr(load_config(path))


def test_the_exit_codes_in_the_readme_are_these() -> None:
    readme = (ROOT / "README.md").read_text()
    for code, meaning in MEANING.items():
        assert f"| {code.value} | {meaning} |" in readme


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:7440: Failed to connect to remote host: "
            "connect: Connection refused (111)",
            "connect: Connection refused (111)",
        ),
        ("DNS resolution failed for nowhere:7440", "DNS resolution failed for nowhere:7440"),
        ("failed to connect; last error: INTERNAL: odd", "INTERNAL: odd"),
    ],
)
def test_the_cause_in_grpcs_words(message: str, cause: str) -> None:
    assert connection_cause(message) == cause


async def test_a_message_that_is_too_large_says_what_to_do(tmp_path: Path) -> None:
    """gRPC's own words have no reason for scripts; it refuses before our code sees anything."""
    served = aio.server()
    answers = {"big": b"x" * (MAX_MESSAGE_BYTES + 1)}

    async def serve(request: bytes, context: object) -> bytes:
        return answers.get(request.decode(errors="replace"), b"")

    handlers = {"Ask": grpc.unary_unary_rpc_method_handler(serve)}
    served.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = served.add_insecure_port("127.0.0.1:0")
    await served.start()

    def asked(request: bytes) -> CommandError:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            controller = Controller(OperatorConfig(f"127.0.0.1:{port}", "", "", tmp_path), channel)
            with pytest.raises(CommandError) as caught:
                controller.call(channel.unary_unary("/test.Service/Ask", bytes, bytes), request)
        return caught.value

    try:
        large = await asyncio.to_thread(asked, b"x" * (5 * 2**20))
        assert (large.code, large.reason) == (Exit.USAGE, "REQUEST_TOO_LARGE")
        assert "(5.0 MiB) than the 4.0 MiB that the controller takes: name fewer" in str(large)
        answered = await asyncio.to_thread(asked, b"big")
        assert (answered.code, answered.reason) == (Exit.REFUSED, "ANSWER_TOO_LARGE")
    finally:
        await served.stop(None)
