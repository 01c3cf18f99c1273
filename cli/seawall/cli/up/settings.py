"""What the first `seawall up` on a machine chose, remembered for all further ones: `up.json`. Pure, but for `load`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.cli.exits import CommandError, Exit

VERSION = 1
REPOSITORY_NAME = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """Remembered. Options of a later start that differ replace what is here, but for the repository's place once it is made."""

    operator_port: int
    """Of the controller: operators and joining hosts."""
    agent_port: int
    """Of the controller: agents, mTLS."""
    repository_url: str
    """As the controller keeps it: file:///folder or s3://bucket/prefix?endpoint=…&region=…"""
    run_dir: str
    scratch_dir: str
    name: str = ""
    """Under which other hosts reach this machine. Empty: they do not, loopback alone is served."""
    host_name: str = ""
    """Under which operators see this host. Empty: the machine's own."""
    hypervisor: str = "qemu:///system"
    """libvirt URI."""

    @property
    def operator_address(self) -> str:
        """What operators on this machine, and its own agent when it joins, dial."""
        return f"127.0.0.1:{self.operator_port}"

    @property
    def agent_address(self) -> str:
        """What this machine's agent dials."""
        return f"127.0.0.1:{self.agent_port}"

    @property
    def listen_host(self) -> str:
        return "0.0.0.0" if self.name else "127.0.0.1"  # noqa: S104 - asked for by --name

    @property
    def told_host(self) -> str:
        """The host part of addresses that the controller hands out; IPv6 addresses in brackets."""
        if not self.name:
            return "127.0.0.1"
        return f"[{self.name}]" if ":" in self.name else self.name


def render(settings: UpSettings) -> bytes:
    """The file's content."""
    return json.dumps({"version": VERSION, **dataclasses.asdict(settings)}, indent=1).encode() + b"\n"


def load(path: Path) -> UpSettings | None:
    """None where there is no file. Raises CommandError/BAD_STATE for one that cannot be understood."""
    try:
        values = json.loads(path.read_text())
        return _parsed(values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise CommandError(
            Exit.REFUSED,
            "BAD_STATE",
            f"{path} cannot be understood ({error}). It holds what the first `seawall up` chose; "
            "bring it back from a copy, or start afresh with another --state-dir.",
        ) from error


def _parsed(values: Any) -> UpSettings:
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    if values.pop("version") != VERSION:
        raise ValueError("of another version of Seawall")
    for field in dataclasses.fields(UpSettings):
        if field.name in values and type(values[field.name]) is not field.type:
            raise ValueError(f"{field.name} is {values[field.name]!r}")
    return UpSettings(**values)
