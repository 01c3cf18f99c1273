"""The composition root of the command: the one place of the CLI that builds controllers, agents and keys.

Heavy packages are imported inside the functions: `seawall vm list` must not pay for libvirt, boto3 or a database.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from seawall.cli.exits import CommandError, Exit, system_error
from seawall.cli.text import iso_time, sentences
from seawall.repository.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from seawall.agent.config import AgentConfig
    from seawall.cli.commands.controller_recover import RecoverOptions
    from seawall.controller.config import ControllerConfig
    from seawall.controller.recovering.recovery import Recovered


_CODES = {
    "BAD_CONFIG": Exit.USAGE,
    "BAD_TOKEN": Exit.USAGE,
    "TOKEN_UNKNOWN": Exit.NOT_ALLOWED,
    "TOKEN_EXPIRED": Exit.NOT_ALLOWED,
    "TOKEN_USED": Exit.NOT_ALLOWED,
    "TOO_MANY_TRIES": Exit.NOT_ALLOWED,
    "CONTROLLER_NOT_TRUSTED": Exit.NOT_ALLOWED,
    "CLOCK_WRONG": Exit.REFUSED,
    "AGENT_NOT_RUNNING": Exit.UNREACHABLE,
    "CONTROLLER_SILENT": Exit.UNREACHABLE,
    "CONTROLLER_UNREACHABLE": Exit.UNREACHABLE,
}
"""How a service that runs in this process ends the command; what is not here is a state of things: 5."""

_NEXT_OF_JOIN = {
    "CONTROLLER_UNREACHABLE": "Is it running, and does the address in the token lead to it from this host?",
    "TOKEN_UNKNOWN": "Make a new one with `seawall host token`.",
    "TOKEN_EXPIRED": "",
    "TOKEN_USED": "",
}
"""What to do next where the agent's general advice does not fit; "" where the controller's words say it already."""


@contextmanager
def controller_errors() -> Iterator[None]:
    """The controller's errors become the command line's."""
    from seawall.controller.errors import ControllerError

    try:
        yield
    except ControllerError as error:
        raise _command_error(error.reason, str(error)) from error
    except OSError as error:
        raise system_error(error) from error


@contextmanager
def _agent_errors(next_steps: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    from seawall.agent.errors import AgentError

    try:
        yield
    except AgentError as error:
        raise _command_error(error.reason, str(error), next_steps.get(error.reason, error.next_step)) from error
    except OSError as error:
        raise system_error(error) from error


def _command_error(reason: str, *parts: str) -> CommandError:
    return CommandError(_CODES.get(reason, Exit.REFUSED), reason, sentences(*parts))


def _remarks_to_stderr() -> None:
    """Standard output is for answers. The services that run on set up their own logs."""
    import structlog

    structlog.configure(
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def controller_config(file: Path | None, **overrides: Any) -> "ControllerConfig":
    """The controller's settings: file, then what the command line gives (None = not given)."""
    from seawall.controller.config import load_config

    with controller_errors():
        return load_config(file, **absolute(overrides))


def absolute(given: Mapping[str, Any]) -> dict[str, Any]:
    """With paths that hold wherever they are read."""
    return {key: value.absolute() if isinstance(value, Path) else value for key, value in given.items()}


def initialise_controller(config: "ControllerConfig") -> dict[str, Any]:
    """Keys and operator.toml; what was there stays."""
    from seawall.controller.app import create_database
    from seawall.controller.database.opening import check_new
    from seawall.controller.initialise import initialise

    _remarks_to_stderr()
    with controller_errors():
        if config.database and not config.paths.marker.exists():
            check_new(config)
        made = initialise(config, SystemClock())
        if not made.already:
            create_database(config)
    return {
        "created": not made.already,
        "cluster_id": made.cluster_id,
        "state_dir": str(config.state_dir),
        "operator_file": str(made.operator_toml),
    }


def recover_controller(
    config: "ControllerConfig", asked: "RecoverOptions", progress: "Callable[[Recovered], None]"
) -> "Recovered":
    """The catalogue from a bucket; with `plan`, what there is."""
    from seawall.cli.rescue.errors import opening_errors
    from seawall.cli.rescue.opening import bucket_credentials, key_and_place
    from seawall.controller.recovering.command import RecoverCommand
    from seawall.controller.recovering.recovery import Order

    _remarks_to_stderr()
    with opening_errors():
        key, url = key_and_place(asked.key, asked.repository, asked.endpoint, asked.region, asked.ca_file)
    order = Order(url, bucket_credentials(url), key.material, asked.name, asked.accept_unsafe_store)
    with controller_errors():
        command = RecoverCommand(config, SystemClock())
        return command.look(order) if asked.plan else command.run(order, progress)


def agent_config(file: Path | None, **overrides: Any) -> "AgentConfig":
    """The agent's settings: file, then what the command line gives (None = not given)."""
    from seawall.agent.config import load_config

    with _agent_errors():
        return load_config(file, absolute(overrides))


def join_agent(config: "AgentConfig", token: str, force: bool) -> dict[str, Any]:
    """Enrol this host."""
    from seawall.agent.app import join

    _remarks_to_stderr()
    with _agent_errors(_NEXT_OF_JOIN):
        identity = join(config, token, force)
    return {"agent_id": identity.agent_id, "agent_address": identity.address}


def run_agent(config: "AgentConfig") -> int:
    """Serve this host until told to stop; the exit code."""
    from seawall.agent.app import run

    with _agent_errors():
        return run(config)


def agent_status(config: "AgentConfig") -> dict[str, Any]:
    """What the running agent says of itself. Raises CommandError when none runs."""
    from seawall.agent.health import read_status

    with _agent_errors():
        return _timed(asdict(read_status(config.run_dir)))


def store_url(url: str) -> str:
    """A store's URL in the one form that the controller keeps. Raises CommandError."""
    from seawall.repository.store.location import FolderLocation, LocationInvalid, parse_location

    try:
        location = parse_location(url)
    except LocationInvalid as error:
        raise CommandError(Exit.USAGE, "BAD_URL", sentences(str(error))) from error
    return location.path.as_uri() if isinstance(location, FolderLocation) else location.url


def write_private_file(path: Path, body: bytes) -> None:
    """Mode 0600, durable, whole or not at all. Raises OSError."""
    from seawall.controller.files import write_file

    write_file(path, body, 0o600)


def _timed(values: dict[str, Any]) -> dict[str, Any]:
    """Microseconds become ISO 8601, as in every other answer: `last_heartbeat_us` -> `last_heartbeat_at`."""
    times = {key.removesuffix("_us") + "_at": iso_time(value) for key, value in values.items() if key.endswith("_us")}
    return {key: value for key, value in values.items() if not key.endswith("_us")} | times
