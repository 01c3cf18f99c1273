"""The operator's way to the controller: operator.toml, a TLS channel that trusts that controller's CA alone, a bearer token per call."""

import os
import random
import ssl
import stat
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc

from seawall.api.v1.limits_pb2_grpc import LimitServiceStub
from seawall.api.v1.operator_pb2_grpc import AdminServiceStub, BackupServiceStub
from seawall.api.v1.policy_pb2_grpc import PolicyServiceStub
from seawall.cli.exits import BY_STATUS, CommandError, Exit
from seawall.cli.failover import OPTIONS, FailoverChannel, error_info
from seawall.cli.text import sentences
from seawall.controller.addresses import split_addresses
from seawall.repository.clock import SystemClock

DEADLINE_SECONDS = 60
ADD_REPOSITORY_SECONDS = 180  # it probes a bucket that may be far away
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
LONGEST_TOKEN = 4096
COPY_IT = "Copy operator.toml from the controller, where `seawall controller init` wrote it, or name it with --config."

_random = random.SystemRandom()

CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_retries", 1),
]


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
        raise _bad(path, f"is not valid TOML: {error}") from error
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
            raise _bad(path, f"has no `{key}`, or one that is not text.")
    if unknown := sorted(set(values) - set(wanted)):
        raise _bad(path, f"has unknown keys: {', '.join(unknown)}. It may hold {', '.join(wanted)}.")
    address, ca_pem, token = (values[key] for key in wanted)
    try:
        if any(port == 0 for _, port in split_addresses(address)):
            raise ValueError(f"{address!r} is not host:port")
    except ValueError as error:
        raise _bad(path, f"has a wrong `address`: {error}.") from error
    # What gRPC would only meet in the middle of a call, with words for its own authors.
    if len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        raise _bad(path, "has a `token` that no controller made.")
    return OperatorConfig(address, ca_pem, token, path)


def _bad(path: Path, what: str) -> CommandError:
    return CommandError(Exit.USAGE, "BAD_CONFIG", f"{sentences(f'{path} {what}')} {COPY_IT}")


class _Bearer(grpc.AuthMetadataPlugin):
    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback(self._metadata, None)


class Controller:
    """The operator services of one controller. Calls raise CommandError, never gRPC's own errors."""

    def __init__(self, config: OperatorConfig, channel: grpc.Channel) -> None:
        self._config = config
        self.backup = BackupServiceStub(channel)
        self.admin = AdminServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.limits = LimitServiceStub(channel)

    def call(self, method: Callable[..., Any], request: Any, *, timeout_seconds: float = DEADLINE_SECONDS) -> Any:
        """One unary call with a deadline."""
        try:
            return method(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise self._command_error(error) from error

    def stream(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        """One server stream; the caller decides how long to listen."""
        try:
            yield from method(request)
        except grpc.RpcError as error:
            raise self._command_error(error) from error

    def pages(self, method: Callable[..., Any], request: Any, field: str, limit: int | None = None) -> list[Any]:
        """All items of a paged list, or the first `limit`."""
        items: list[Any] = []
        while True:
            answer = self.call(method, request)
            items.extend(getattr(answer, field))
            if not answer.next_page_token or (limit is not None and len(items) >= limit):
                return items[:limit]
            request.page_token = answer.next_page_token

    def _command_error(self, error: grpc.RpcError) -> CommandError:
        code: grpc.StatusCode = error.code()
        message: str = error.details() or code.name
        info = error_info(error)
        reason = str(info.reason) or code.name
        if reason == "UNAVAILABLE" and "CERTIFICATE_VERIFY_FAILED" in message:
            return CommandError(
                Exit.NOT_ALLOWED,
                "WRONG_CA",
                f"What answers at {self._config.address} is not the controller that {self._config.path} trusts. "
                "If the controller was made anew, copy its operator.toml.",
            )
        if reason == "UNAVAILABLE":
            message = (
                f"The controller at {self._config.address} cannot be reached ({connection_cause(message)}). Is it running? "
                f"The address comes from {self._config.path}."
            )
        if reason == "DEADLINE_EXCEEDED":
            message = (
                f"The controller at {self._config.address} did not answer in time. "
                "What was asked may still happen: look before repeating."
            )
        if reason == "UNIMPLEMENTED":
            reason, message = (
                "NEEDS_UPGRADE",
                (
                    f"The controller at {self._config.address} does not know this command: it is older than this command line. "
                    "Upgrade the controller, or use the command line of its version."
                ),
            )
        if reason == "AMBIGUOUS":
            message += "".join(f"\n  {identity}  {what}" for identity, what in sorted(info.metadata.items()))
        return CommandError(BY_STATUS.get(code, Exit.FAILED), reason, message)


def connection_cause(message: str) -> str:
    """The part of gRPC's words that a person wants: "connect: Connection refused (111)" of a whole path of wrappers."""
    if "Domain name not found" in message:
        return "its name is not known here"
    if "Socket closed" in message or "WRONG_VERSION_NUMBER" in message:
        return "what answers there is no operator port of a controller: 7440 is, unless configured otherwise"
    for mark in ("Failed to connect to remote host: ", "last error: "):
        if mark in message:
            return message.rsplit(mark, 1)[1].strip()
    return message


@contextmanager
def connect(option: Path | None) -> Iterator[Controller]:
    """The controller that operator.toml names; the channel is closed on leaving."""
    config = load_config(option)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=config.ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise _bad(config.path, "has a `ca_pem` that is no certificate.") from error
    transport = grpc.ssl_channel_credentials(root_certificates=config.ca_pem.encode())
    token = grpc.metadata_call_credentials(_Bearer(config.token))
    credentials = grpc.composite_channel_credentials(transport, token)
    with ExitStack() as opened:
        # Each command begins with another one, so that all share the work; whoever is away is passed over.
        addresses = config.address.split(",")
        _random.shuffle(addresses)
        options = CHANNEL_OPTIONS + (OPTIONS if len(addresses) > 1 else [])
        channels = [
            opened.enter_context(grpc.secure_channel(address, credentials, options=options)) for address in addresses
        ]
        channel = channels[0] if len(channels) == 1 else FailoverChannel(channels, SystemClock())
        yield Controller(config, cast(grpc.Channel, channel))


def new_request_id() -> str:
    """One per mutation: repeated calls with it happen once."""
    return str(uuid.uuid4())
