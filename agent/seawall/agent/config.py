"""The agent's configuration: frozen, parsed once at the edge (`agent run`, `agent join`), unknown keys rejected."""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.agent.errors import AgentError, FailureKind

DEFAULT_FILE = Path("/etc/seawall/agent.toml")
_LARGEST = 2**63 - 1
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):[1-9][0-9]{0,4}", re.ASCII)


class ConfigError(AgentError):
    """The configuration cannot be used as it is."""

    reason = "BAD_CONFIG"
    kind = FailureKind.PERMANENT
    next_step = "Correct the configuration file or the option."


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What one agent needs to know about its host."""

    state_dir: Path = Path("/var/lib/seawall/agent")
    """Identity, journal and logs of attempts. Local disk, mode 0700."""
    run_dir: Path = Path("/run/seawall/agent")
    """Sockets: the health socket and, below `nbd/`, those that QEMU serves. Gone after a reboot."""
    scratch_dir: Path = Path("/var/lib/seawall/scratch")
    """Where libvirt puts the old content of blocks that guests overwrite during a backup. QEMU's user must reach it."""
    scratch_quota_bytes: int = 0
    """A backup ends itself when its scratch files reach 80 % of this. 0: a fifth of the VM's disks. Free space always bounds it."""
    bytes_per_second: int = 0
    """All backups of this host together read at most so much a second; 0: no limit. A VM's own limit comes on top."""
    iops: int = 0
    """The same for read requests (of 2 MiB at most)."""
    hypervisor: str = "qemu:///system"
    """libvirt connection URI."""
    host_name: str = ""
    """The name that people see; empty: the machine's own."""
    controllers: tuple[str, ...] = ()
    """`host:port` of the controller's mTLS port; empty: the address that enrolment gave."""


def load_config(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> AgentConfig:
    """Defaults, then the file, then overrides (None values are skipped). `path` None: DEFAULT_FILE where it exists.

    Raises ConfigError: file missing or malformed, unknown key, value of a wrong type.
    """
    values = _read(path or DEFAULT_FILE, required=path is not None)
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    return config_of(values)


def config_of(values: Mapping[str, object]) -> AgentConfig:
    """The configuration that these plain values (TOML, JSON) spell. Raises ConfigError."""
    fields = {field.name: field.default for field in dataclasses.fields(AgentConfig)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(fields))}")
    return AgentConfig(**{key: _value(key, value, fields[key]) for key, value in values.items()})


def plain(config: AgentConfig) -> dict[str, object]:
    """The inverse of `config_of`, for a worker's assignment."""
    return {
        field.name: _plain_value(getattr(config, field.name)) for field in dataclasses.fields(config)
    }  # values are paths, strings, integers and tuples of strings


def _read(path: Path, *, required: bool) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if required:
            raise ConfigError(f"no configuration file at {path}") from error
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _value(key: str, value: object, default: object) -> Any:
    """The value as the type of its field."""
    if isinstance(default, Path) and isinstance(value, str | Path) and str(value):
        path = Path(value)
        if not path.is_absolute() or not str(path).isprintable():
            raise ConfigError(f"{key} must be an absolute path, not {str(value)!r}")
        return path
    if isinstance(default, int) and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    if isinstance(default, str) and isinstance(value, str):
        return _text(key, value)
    if isinstance(default, tuple) and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        for item in value:
            if not _ADDRESS.fullmatch(item):
                raise ConfigError(f"{key}: {item!r} is not host:port")
        return tuple(value)
    raise ConfigError(f"{key} = {value!r} is not a {_kind(default)}")


def _text(key: str, value: str) -> str:
    if not value.isprintable():
        raise ConfigError(f"{key} = {value!r} holds characters that cannot be printed")
    if key == "hypervisor" and "://" not in value:
        raise ConfigError(f"{key} = {value!r} is not a libvirt URI such as qemu:///system")
    return value


def _kind(default: object) -> str:
    names = {int: "whole number, zero or more", str: "string", tuple: "list of strings"}
    return names.get(type(default), "path")


def _plain_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
