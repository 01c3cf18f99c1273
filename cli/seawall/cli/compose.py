"""The composition root of the command: the one place of the CLI that builds controllers, agents and keys.

Heavy packages are imported inside the functions: `seawall vm list` must not pay for libvirt, boto3 or a database.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.api.v1 import resources_pb2
from seawall.cli.exits import CommandError, Exit
from seawall.repository.clock import SystemClock

if TYPE_CHECKING:
    from seawall.agent.config import AgentConfig
    from seawall.controller.config import ControllerConfig


@contextmanager
def _controller_errors() -> Iterator[None]:
    from seawall.controller.errors import ControllerError

    try:
        yield
    except ControllerError as error:
        raise CommandError(
            Exit.USAGE if error.reason == "BAD_CONFIG" else Exit.REFUSED, error.reason, str(error)
        ) from error
    except PermissionError as error:
        raise _not_root(error) from error


@contextmanager
def _agent_errors() -> Iterator[None]:
    from seawall.agent.errors import AgentError

    try:
        yield
    except AgentError as error:
        text = f"{error} {error.next_step}".strip()
        raise CommandError(Exit.USAGE if error.reason == "BAD_CONFIG" else Exit.REFUSED, error.reason, text) from error
    except PermissionError as error:
        raise _not_root(error) from error


def _not_root(error: PermissionError) -> CommandError:
    return CommandError(Exit.NOT_ALLOWED, "PERMISSION", f"{error.filename or error}: permission denied. Are you root?")


def controller_config(file: Path | None, **overrides: Any) -> "ControllerConfig":
    """The controller's settings: file, then what the command line gives (None = not given)."""
    from seawall.controller.config import load_config

    with _controller_errors():
        return load_config(file, **overrides)


def initialise_controller(config: "ControllerConfig") -> dict[str, Any]:
    """Keys and operator.toml; what was there stays."""
    from seawall.controller.initialise import initialise

    with _controller_errors():
        made = initialise(config, SystemClock())
    return {
        "created": not made.already,
        "cluster_id": made.cluster_id,
        "state_dir": str(config.state_dir),
        "operator_file": str(made.operator_toml),
    }


def run_controller(config: "ControllerConfig") -> int:
    """Serve until told to stop; the exit code."""
    from seawall.controller.app import run

    with _controller_errors():
        return run(config)


def agent_config(file: Path | None, **overrides: Any) -> "AgentConfig":
    """The agent's settings: file, then what the command line gives (None = not given)."""
    from seawall.agent.config import load_config

    with _agent_errors():
        return load_config(file, overrides)


def join_agent(config: "AgentConfig", token: str, force: bool) -> dict[str, Any]:
    """Enrol this host."""
    from seawall.agent.app import join

    with _agent_errors():
        identity = join(config, token, force)
    return {"agent_id": identity.agent_id, "agent_address": identity.address}


def run_agent(config: "AgentConfig") -> int:
    """Serve this host until told to stop; the exit code."""
    from seawall.agent.app import run

    with _agent_errors():
        return run(config)


def agent_status(config: "AgentConfig") -> dict[str, Any]:
    """What the running agent says of itself. Raises CommandError when none runs."""
    from seawall.agent.health import AgentNotRunning, read_status

    try:
        return asdict(read_status(config.run_dir))
    except AgentNotRunning as error:
        raise CommandError(Exit.UNREACHABLE, error.reason, f"{error}. {error.next_step}") from error


class RecoveryFile:
    """A recovery key whose secret is safe on disk before the repository exists: a crash in between loses nothing."""

    def __init__(self, path: Path, secret_key: bytes) -> None:
        self._path = path
        self._secret_key = secret_key

    @property
    def public_key(self) -> bytes:
        """X25519, 32 bytes: all that leaves this machine."""
        from seawall.repository.crypto.sealing import public_key_of

        return public_key_of(self._secret_key)

    def write_secret(self) -> None:
        """The bare key, until the repository is made."""
        from seawall.repository.crypto.recovery import recovery_key_text

        self._replace(
            f"Recovery key of a Seawall repository that was being made:\n\n{recovery_key_text(self._secret_key)}\n"
        )

    def write_sheet(self, repository: resources_pb2.Repository) -> None:
        """The whole sheet, to print."""
        from seawall.repository.recovery_sheet import RecoverySheet, render_recovery_sheet

        lineage_id = bytes.fromhex(repository.lineage_id)
        sheet = RecoverySheet(self._secret_key, lineage_id, repository.signing_public_key, repository.url)
        self._replace(render_recovery_sheet(sheet))

    def _replace(self, text: str) -> None:
        new = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path)


@contextmanager
def recovery_key_file(path: Path) -> Iterator[RecoveryFile]:
    """A new recovery key, written to `path` (mode 0600) at once; removed again when what is done inside fails for sure.

    Raises CommandError when the file exists: an old key is never overwritten.
    """
    from seawall.repository.crypto.keys import new_secret

    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise CommandError(
            Exit.REFUSED,
            "RECOVERY_FILE_EXISTS",
            f"{path} exists. A recovery key is never overwritten: name another file.",
        ) from error
    except OSError as error:
        raise CommandError(Exit.USAGE, "RECOVERY_FILE", f"{path} cannot be written: {error.strerror}.") from error
    file = RecoveryFile(path, new_secret())
    file.write_secret()
    try:
        yield file
    except CommandError as error:
        # After a lost answer the repository may exist with this key: then the file stays.
        if error.code != Exit.UNREACHABLE:
            with suppress(OSError):
                path.unlink()
        raise
