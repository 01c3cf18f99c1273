"""operator.toml: where it is looked for, and what it holds."""

import os
import stat
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.cli.exits import CommandError, Exit
from seawall.cli.text import sentences
from seawall.controller.addresses import split_addresses

LONGEST_TOKEN = 4096
COPY_IT = "Copy operator.toml from the controller, where `seawall controller init` wrote it, or name it with --config."


@dataclass(frozen=True, slots=True, repr=False)
class OperatorConfig:
    """operator.toml: where the controller is, whom to trust, and the token. `controller init` writes it with mode 0600."""

    address: str
    """host:port; of several controllers on one database, with commas."""
    ca_pem: str
    token: str
    path: Path


def search_path() -> list[Path]:
    """Where operator.toml is looked for, first hit wins."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [home / "seawall" / "operator.toml", Path("/etc/seawall/operator.toml")]


def find_config(option: Path | None) -> Path:
    """`--config`, then SEAWALL_CONFIG, then the search path. Raises CommandError when there is none."""
    named = option or (Path(os.environ["SEAWALL_CONFIG"]) if os.environ.get("SEAWALL_CONFIG") else None)
    if named is not None:
        if _is_file(named):
            return named
        raise CommandError(Exit.USAGE, "NO_CONFIG", f"There is no operator configuration at {named}. {COPY_IT}")
    for path in search_path():
        if _is_file(path):
            return path
    places = ", ".join(str(path) for path in search_path())
    raise CommandError(Exit.USAGE, "NO_CONFIG", f"No operator configuration found ({places}). {COPY_IT}")


def load_config(option: Path | None) -> OperatorConfig:
    """Parse operator.toml. Raises CommandError naming the file and what is wrong with it."""
    path = find_config(option)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        mode = path.stat().st_mode
    except PermissionError as error:
        raise _unreadable(path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise bad_config(path, f"is not valid TOML: {error}") from error
    config = _parsed(path, values)
    if mode & stat.S_IROTH:
        sys.stderr.write(f"Anyone on this machine can read the operator's token: chmod o-r {path}\n")
    return config


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:
        raise _unreadable(path) from error
    except (OSError, ValueError):  # a name that no file can have
        return False


def _unreadable(path: Path) -> CommandError:
    return CommandError(
        Exit.NOT_ALLOWED, "CONFIG_UNREADABLE", f"{path} may not be read by this user. Use sudo, or a copy of your own."
    )


def _parsed(path: Path, values: dict[str, Any]) -> OperatorConfig:
    wanted = ("address", "ca_pem", "token")
    for key in wanted:
        if not isinstance(values.get(key), str) or not values[key]:
            raise bad_config(path, f"has no `{key}`, or one that is not text.")
    if unknown := sorted(set(values) - set(wanted)):
        raise bad_config(path, f"has unknown keys: {', '.join(unknown)}. It may hold {', '.join(wanted)}.")
    address, ca_pem, token = (values[key] for key in wanted)
    try:
        if any(port == 0 for _, port in split_addresses(address)):
            raise ValueError(f"{address!r} is not host:port")
    except ValueError as error:
        raise bad_config(path, f"has a wrong `address`: {error}.") from error
    # What gRPC would only meet in the middle of a call, with words for its own authors.
    if len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        raise bad_config(path, "has a `token` that no controller made.")
    return OperatorConfig(address, ca_pem, token, path)


def bad_config(path: Path, what: str) -> CommandError:
    return CommandError(Exit.USAGE, "BAD_CONFIG", f"{sentences(f'{path} {what}')} {COPY_IT}")
