"""Files that people write or damage: operator.toml, controller.toml, agent.toml, a host's identity. Refusals name file and key."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.agent.control.errors import NotEnrolled
from seawall.agent.control.identity import FILE_NAME, load_identity, new_private_key, save_identity
from seawall.controller.config import ControllerConfig
from seawall.controller.initialise import initialise
from seawall.repository.clock import SystemClock
from support.agent_certificates import Authority
from support.operator_words import Operator


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An operator.toml of a controller that does not run."""
    config = ControllerConfig(state_dir=tmp_path_factory.mktemp("config") / "state", enrol_address="127.0.0.1:1")
    initialise(config, SystemClock())
    return config.operator_toml.read_text()


def private(path: Path, body: str | bytes) -> Path:
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    path.chmod(0o600)
    return path


def with_value(text: str, key: str, value: str) -> str:
    return re.sub(rf'^{key} = (""".*?"""|"[^"]*")', lambda _: f"{key} = {value}", text, count=1, flags=re.M | re.S)


WRONG_VALUES = [
    ("token", "7", "`token`"),
    ("token", '""', "`token`"),
    ("token", '"two\\nlines"', "`token`"),
    ("token", '"nul\\u0000"', "`token`"),
    ("token", '"ümlaut"', "`token`"),
    ("token", '"' + "x" * 20_000 + '"', "`token`"),
    ("address", '["127.0.0.1:1"]', "`address`"),
    ("address", '"127.0.0.1"', "host:port"),
    ("address", '"127.0.0.1:http"', "host:port"),
    ("address", '"127.0.0.1:0"', "host:port"),
    ("address", '"127.0.0.1:99999"', "host:port"),
    ("address", '"https://127.0.0.1:7440"', "`address`"),
    ("address", '"two words:7440"', "`address`"),
    ("address", '"unix:///etc/passwd"', "`address`"),
    ("address", '"a\\nb:7440"', "`address`"),
    ("ca_pem", '"hello"', "`ca_pem`"),
    ("ca_pem", '"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----"', "`ca_pem`"),
    ("colour", '"red"', "colour"),
]


@pytest.mark.parametrize(("key", "value", "told"), WRONG_VALUES, ids=lambda value: str(value)[:30])
def test_a_wrong_value_in_operator_toml(tmp_path: Path, right: str, key: str, value: str, told: str) -> None:
    text = with_value(right, key, value) if key in ("token", "address", "ca_pem") else f"{key} = {value}\n{right}"
    path = private(tmp_path / "operator.toml", text)
    code, reason, message = Operator().refused("status", "--config", path)
    assert (code, reason) == (2, "BAD_CONFIG")
    assert str(path) in message and told in message and "Copy operator.toml" in message


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xfe\x00", b"a\0b", b"[address]\n"], ids=repr)
def test_what_is_no_operator_toml(tmp_path: Path, body: bytes) -> None:
    path = private(tmp_path / "operator.toml", body)
    code, reason, message = Operator().refused("vm", "list", "--config", path)
    assert (code, reason) == (2, "BAD_CONFIG") and str(path) in message


def test_places_where_no_operator_toml_can_be(tmp_path: Path) -> None:
    file, loop = private(tmp_path / "file", ""), tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "none", tmp_path, file / "below", loop, tmp_path / ("x" * 300)):
        code, reason, message = Operator().refused("status", "--config", path)
        assert (code, reason) == (2, "NO_CONFIG") and "Copy operator.toml" in message


def test_a_token_that_everybody_can_read_is_told(tmp_path: Path, right: str) -> None:
    path = private(tmp_path / "operator.toml", right)
    assert "chmod" not in Operator(path)("status").err
    path.chmod(0o644)
    answer = Operator(path)("status", "--json")
    assert (answer.code, answer.reason) == (7, "UNAVAILABLE")
    assert f"chmod o-r {path}" in answer.err


CONTROLLER_TOML = [
    ('colour = "red"', "colour"),
    ("agent_listen = 7441", "agent_listen"),
    ("= 3", "cannot be read"),
    ('log_level = "info"\nlog_level = "info"', "cannot be read"),
    ('state_dir = "relative"', "state_dir"),
    ('state_dir = "/tmp/a\\u0000b"', "state_dir"),
    ('state_dir = "/tmp/two\\nlines"', "state_dir"),
    ('operator_file = "relative.toml"', "operator_file"),
    ('server_names = ["a\\u0000"]', "server_names"),
    ('server_names = ["' + "a" * 300 + '"]', "server_names"),
    ('agent_address = "two words:7441"', "agent_address"),
    ('agent_address = "a\\u0000b:7441"', "agent_address"),
    ('enrol_address = "bücher.example:7440"', "enrol_address"),
    ("enrol_address = 'a\"b:7440'", "enrol_address"),
    ('enrol_address = "host:0"', "enrol_address"),
    ("[timings]\npoll_wait_seconds = nan", "poll_wait_seconds"),
    ("[timings]\npoll_wait_seconds = inf", "poll_wait_seconds"),
    ("[timings]\nlease_ttl_seconds = 1e300", "lease_ttl_seconds"),
    ("[timings]\nurl_ttl_seconds = 700000", "S3"),
]


@pytest.mark.parametrize(("text", "told"), CONTROLLER_TOML, ids=lambda value: str(value)[:40])
def test_a_wrong_controller_toml_makes_nothing(tmp_path: Path, text: str, told: str) -> None:
    path, state = private(tmp_path / "controller.toml", text), tmp_path / "state"
    chosen = () if text.startswith("state_dir") else ("--state-dir", state)
    code, reason, message = Operator().refused("controller", "init", "--config-file", path, *chosen)
    assert (code, reason) == (2, "BAD_CONFIG")
    assert str(path) in message and told in message
    assert not state.exists()


AGENT_TOML = [
    ('colour = "red"', "colour"),
    ("state_dir = 7", "state_dir"),
    ('state_dir = "relative"', "state_dir"),
    ('run_dir = "/a\\u0000b"', "run_dir"),
    ('controllers = ["nonsense"]', "controllers"),
    ('controllers = [""]', "controllers"),
    ('controllers = ["host:0"]', "controllers"),
    ('hypervisor = "nonsense"', "hypervisor"),
    ('host_name = "two\\nlines"', "host_name"),
    ("scratch_quota_bytes = 99999999999999999999999", "scratch_quota_bytes"),
    ("scratch_quota_bytes = 1.5", "scratch_quota_bytes"),
]


@pytest.mark.parametrize(("text", "told"), AGENT_TOML, ids=lambda value: str(value)[:40])
def test_a_wrong_agent_toml(tmp_path: Path, text: str, told: str) -> None:
    path = private(tmp_path / "agent.toml", text)
    code, reason, message = Operator().refused("agent", "status", "--config-file", path)
    assert (code, reason) == (2, "BAD_CONFIG") and told in message


def without_key(text: str) -> str:
    values = json.loads(text)
    del values["private_key_pem"]
    return json.dumps(values)


def changed(**values: object) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | values)


IDENTITIES: list[tuple[Callable[[str], str], str]] = [
    (lambda _: "", "identity.json"),
    (lambda _: "[]", "identity.json"),
    (lambda text: text[:200], "identity.json"),
    (without_key, "private_key_pem"),
    (changed(colour="red"), "colour"),
    (changed(address=7), "address is not text"),
    (changed(address="nowhere"), "host:port"),
    (changed(private_key_pem="x"), "identity.json"),
    (changed(private_key_pem=new_private_key()), "do not belong together"),
    (changed(certificate_pem="x"), "identity.json"),
    (changed(ca_bundle_pem="x"), "identity.json"),
]


@pytest.mark.parametrize(("damage", "told"), IDENTITIES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_damaged_identity_says_how_to_join_anew(tmp_path: Path, damage: Callable[[str], str], told: str) -> None:
    save_identity(tmp_path, Authority().identity("127.0.0.1:1"))
    file = tmp_path / FILE_NAME
    assert load_identity(tmp_path).address == "127.0.0.1:1"
    file.write_text(damage(file.read_text()))
    with pytest.raises(NotEnrolled, match=re.escape(told)):
        load_identity(tmp_path)
    token = f"sw1:127.0.0.1:1:id.secret:{'0' * 64}"
    for words in (("agent", "run"), ("agent", "join", token)):
        answer = Operator()(*words, "--state-dir", tmp_path)
        assert (answer.code, answer.out) == (5, "")
        assert str(file) in answer.err and "--force" in answer.err
    listening = [thread.name for thread in threading.enumerate() if thread.name == "departures"]
    assert listening == [], "an agent that does not serve leaves nobody who listens"
