"""The controller's configuration and its state directory's names."""

import socket
from pathlib import Path

import pytest

from seawall.controller.addresses import join_address, split_address
from seawall.controller.config import SYSTEM_OPERATOR_FILE, ControllerConfig, load_config
from seawall.controller.errors import InvalidArgument
from seawall.controller.timings import Timings


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return path


def test_file_then_overrides(tmp_path: Path) -> None:
    lines = [f'state_dir = "{tmp_path}"', 'agent_listen = "127.0.0.1:1"', 'log_level = "debug"']
    path = written(tmp_path, "\n".join([*lines, "[timings]", "poll_wait_seconds = 2"]))
    config = load_config(path, agent_listen="127.0.0.1:2", operator_listen=None)
    assert config.state_dir == tmp_path
    assert config.agent_listen == "127.0.0.1:2"
    assert config.operator_listen == ControllerConfig().operator_listen
    assert config.timings == Timings(poll_wait_seconds=2.0)
    assert config.log_level == "debug"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('colour = "red"', "colour"),
        ("[timings]\nnap_seconds = 3", "timings.nap_seconds"),
        ('[timings]\npoll_wait_seconds = "long"', "timings.poll_wait_seconds"),
        ("[timings]\npoll_wait_seconds = 0", "timings.poll_wait_seconds"),
        ("[timings]\npoll_wait_seconds = true", "timings.poll_wait_seconds"),
        ("[timings]\nlease_ttl_seconds = 1", "lease_ttl_seconds"),
        ("[timings]\nmost_tries = 9", "timings.most_tries"),
        ('agent_listen = "nowhere"', "agent_listen"),
        ('agent_address = "host:99999"', "agent_address"),
        ('operator_listen = "::1:7440"', "operator_listen"),
        ("agent_listen = 7441", "agent_listen"),
        ('log_level = "loud"', "log_level"),
        ('server_names = "one"', "server_names"),
        ('server_names = ["bücher.example"]', "server_names"),
        ('server_names = ["one two"]', "server_names"),
        ("state_dir = 3", "state_dir"),
        ("timings = 3", "timings"),
        ("= 3", "controller.toml"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidArgument) as caught:
        load_config(path)
    assert caught.value.reason == "BAD_CONFIG"
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


def test_what_others_dial_follows_from_what_we_listen_on() -> None:
    config = ControllerConfig(agent_listen="0.0.0.0:1", operator_listen="10.0.0.5:2")
    assert config.dialled_by_agents == f"{socket.gethostname()}:1"
    assert config.dialled_to_enrol == config.dialled_by_operators == "10.0.0.5:2"
    assert {"10.0.0.5", socket.gethostname(), "localhost", "127.0.0.1", "::1"} == set(config.certificate_names)


def test_advertised_addresses_win_and_are_in_the_certificate() -> None:
    config = ControllerConfig(agent_address="a.example:1", enrol_address="[fd00::1]:2", server_names=("b.example",))
    assert (config.dialled_by_agents, config.dialled_to_enrol) == ("a.example:1", "[fd00::1]:2")
    assert {"a.example", "b.example", "fd00::1"} <= set(config.certificate_names)


def test_what_is_advertised_follows_the_ports_that_were_bound() -> None:
    config = ControllerConfig(operator_listen="127.0.0.1:0", agent_listen="[::1]:0").with_bound_ports(5, 6)
    assert (config.dialled_to_enrol, config.dialled_by_agents) == ("127.0.0.1:5", "[::1]:6")


def test_operator_toml_stays_with_a_state_of_its_own(tmp_path: Path) -> None:
    assert ControllerConfig().operator_toml == SYSTEM_OPERATOR_FILE
    assert ControllerConfig(state_dir=tmp_path).operator_toml == tmp_path / "operator.toml"
    assert ControllerConfig(operator_file=tmp_path / "x").operator_toml == tmp_path / "x"


@pytest.mark.parametrize(("host", "port"), [("10.0.0.1", 0), ("::1", 7440), ("host.example", 65535)])
def test_addresses_survive_a_round_trip(host: str, port: int) -> None:
    assert split_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:x", "host:-1", "host:65536", "::1:7", "[nonsense]:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not host:port|brackets|IPv6|Expected|permitted|Exactly|At least"):
        split_address(text)


def test_the_certificate_covers_every_controller_that_is_advertised(tmp_path: Path) -> None:
    config = ControllerConfig(state_dir=tmp_path, agent_address="a.example:1,b.example:2", enrol_address="c.example:3")
    assert {"a.example", "b.example", "c.example"} <= set(config.certificate_names)
    for address in ("a:1,", "a:1,b:0"):
        with pytest.raises(InvalidArgument) as caught:
            ControllerConfig(agent_address=address)
        assert caught.value.reason == "BAD_CONFIG"


def test_a_database_is_an_address_without_a_password(tmp_path: Path) -> None:
    assert not ControllerConfig(state_dir=tmp_path).is_shared
    assert ControllerConfig(state_dir=tmp_path, database="postgresql://me@a:1,b:2/seawall?sslmode=require").is_shared
    for url in ("mysql://a@b/c", "postgresql://a:secret@b/c", "postgresql://a@b/c?password=secret", "postgresql://a@b"):
        with pytest.raises(InvalidArgument) as caught:
            ControllerConfig(database=url)
        assert caught.value.reason == "BAD_CONFIG"
        assert "secret" not in str(caught.value)
