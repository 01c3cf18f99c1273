"""The agent's configuration: defaults, file, overrides, and what is refused."""

from pathlib import Path

import pytest

from seawall.agent.config import AgentConfig, ConfigError, config_of, load_config, plain


def test_file_then_overrides_and_none_means_not_given(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('state_dir = "/a"\nhost_name = "alpha"\ncontrollers = ["c:1", "d:2"]\nscratch_quota_bytes = 5\n')
    config = load_config(file, {"state_dir": "/b", "host_name": None})
    assert config == AgentConfig(
        state_dir=Path("/b"), host_name="alpha", controllers=("c:1", "d:2"), scratch_quota_bytes=5
    )


@pytest.mark.parametrize(
    "text",
    [
        'colour = "red"',
        'state_dir = "relative"',
        "state_dir = 7",
        "scratch_quota_bytes = -1",
        "scratch_quota_bytes = true",
        "controllers = [1]",
        "this is not toml",
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert error.value.reason == "BAD_CONFIG"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_config(tmp_path / "absent.toml")


def test_plain_values_spell_the_same_configuration() -> None:
    config = AgentConfig(run_dir=Path("/x"), controllers=("a:1",), scratch_quota_bytes=9)
    assert config_of(plain(config)) == config
