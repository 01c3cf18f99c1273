"""The operator's way to the controller: a TLS channel that trusts that controller's CA alone, and a bearer token per call."""

import random
import re
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import grpc

from seawall.api.standing_still import StandsStill
from seawall.api.v1.limits_pb2_grpc import LimitServiceStub
from seawall.api.v1.operator_pb2_grpc import AdminServiceStub, BackupServiceStub
from seawall.api.v1.policy_pb2_grpc import PolicyServiceStub
from seawall.api.v1.user_pb2_grpc import UserServiceStub
from seawall.cli.bearer import BearerChannel
from seawall.cli.exits import BY_STATUS, CommandError, Exit
from seawall.cli.failover import OPTIONS, FailoverChannel, error_info
from seawall.cli.new_authority import AuthorityChannel, rewrite
from seawall.cli.operator_config import OperatorConfig, bad_config, load_config
from seawall.cli.text import size
from seawall.repository.clock import SystemClock

DEADLINE_SECONDS = 60
ADD_REPOSITORY_SECONDS = 180  # it probes a bucket that may be far away
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
PAGE_SIZE = 500
"""Of lists of which a request without a size means the whole: policies, limits, hooks, repositories."""

_TOO_LARGE = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")

_random = random.SystemRandom()

CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_retries", 1),
]


class Controller:
    """The operator services of one controller. Calls raise CommandError, never gRPC's own errors."""

    def __init__(self, config: OperatorConfig, channel: grpc.Channel) -> None:
        self._config = config
        self.backup = BackupServiceStub(channel)
        self.admin = AdminServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.limits = LimitServiceStub(channel)
        self.users = UserServiceStub(channel)

    @property
    def config(self) -> OperatorConfig:
        """The operator file that was used."""
        return self._config

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
        """All items of a paged list, or the first `limit`. Begun anew once, where a controller of another version took over in between."""
        first = request.page_token
        try:
            return self._pages(method, request, field, limit)
        except CommandError as error:
            if error.reason != "BAD_PAGE_TOKEN" or request.page_token == first:
                raise
            request.page_token = first
            return self._pages(method, request, field, limit)

    def _pages(self, method: Callable[..., Any], request: Any, field: str, limit: int | None) -> list[Any]:
        items: list[Any] = []
        for answer in self.answers(method, request):
            items.extend(getattr(answer, field))
            if limit is not None and len(items) >= limit:
                break
        return items[:limit]

    def answers(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        """One answer a page, at least one."""
        while True:
            answer = self.call(method, request)
            yield answer
            if not answer.next_page_token:
                return
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
            if isinstance(error, StandsStill):
                message += " What was asked may still happen: look before repeating."
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
        if reason == "RESOURCE_EXHAUSTED" and (large := too_large(message)) is not None:
            return large
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


def too_large(message: str) -> CommandError | None:
    """What gRPC's own words for a message over its limit mean, on whichever side it was refused; None: they say something else."""
    found = _TOO_LARGE.search(message)
    if found is None:
        return None
    length, most = (size(int(count)) for count in found.group(1, 2))
    if "CLIENT:" in message:
        told = f"The controller's answer is larger ({length}) than the {most} that this command line takes: ask for less at once."
        return CommandError(Exit.REFUSED, "ANSWER_TOO_LARGE", told)
    told = f"What was asked is larger ({length}) than the {most} that the controller takes: name fewer things at once, or a smaller file."
    return CommandError(Exit.USAGE, "REQUEST_TOO_LARGE", f"{told} Nothing was changed.")


@contextmanager
def connect(option: Path | None) -> Iterator[Controller]:
    """The controller that operator.toml names; the channel is closed on leaving."""
    config = load_config(option)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=config.ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise bad_config(config.path, "has a `ca_pem` that is no certificate.") from error
    with ExitStack() as opened:
        channel = AuthorityChannel(config, lambda known: _opened(opened, known), _on_followed)
        yield Controller(config, cast(grpc.Channel, channel))


def _opened(opened: ExitStack, config: OperatorConfig) -> grpc.Channel:
    """Closed with `opened`."""
    credentials = grpc.ssl_channel_credentials(root_certificates=config.ca_pem.encode())
    # Each command begins with another one, so that all share the work; whoever is away is passed over.
    addresses = config.address.split(",")
    _random.shuffle(addresses)
    options = CHANNEL_OPTIONS + (OPTIONS if len(addresses) > 1 else [])
    secure = [opened.enter_context(grpc.secure_channel(address, credentials, options=options)) for address in addresses]
    channels = [cast(grpc.Channel, BearerChannel(channel, config.token)) for channel in secure]
    return channels[0] if len(channels) == 1 else cast(grpc.Channel, FailoverChannel(channels, SystemClock()))


def _on_followed(before: OperatorConfig, after: OperatorConfig) -> None:
    if rewrite(before, after):
        sys.stderr.write(f"The controller's certificate authority was replaced; {after.path} is brought up to date.\n")
    else:
        sys.stderr.write(
            f"The controller's certificate authority was replaced, and {after.path} cannot be brought up to date by this user: "
            "let somebody run a command who may write it.\n"
        )


def new_request_id() -> str:
    """One per mutation: repeated calls with it happen once."""
    return str(uuid.uuid4())
