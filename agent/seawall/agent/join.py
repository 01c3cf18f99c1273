"""Enrolment of this host: a join token becomes an identity. Called by `seawall agent join`.

The key is made first and kept in `join-key.pem` until the identity is written: the same token with the same key gives the same certificate,
so a lost answer costs a second try and nothing else.
"""

import fcntl
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc

from seawall.agent.config import AgentConfig
from seawall.agent.control.any_controller import first_that_answers
from seawall.agent.control.channel import enrolment_channel
from seawall.agent.control.errors import AlreadyEnrolled, ControllerSilent
from seawall.agent.control.failures import mapped
from seawall.agent.control.identity import (
    FILE_NAME,
    Identity,
    kept_key,
    load_identity,
    save_identity,
    signing_request,
)
from seawall.agent.control.pinned import fetch_root
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError, FailureKind
from seawall.api.join_token import JoinToken, parse_join_token
from seawall.api.v1 import enroll_pb2, enroll_pb2_grpc
from seawall.repository.clock import Clock

KEY_FILE_NAME = "join-key.pem"
CALL_SECONDS = 20.0
RETRY_SECONDS = 30.0

T = TypeVar("T")


class BadToken(AgentError):
    """What was given is not a join token."""

    reason = "BAD_TOKEN"
    kind = FailureKind.PERMANENT
    next_step = "Make one with `seawall host token` and paste it whole."


def join_host(
    config: AgentConfig, token_text: str, *, force: bool, clock: Clock, say: Callable[[str], None] = lambda line: None
) -> Identity:
    """Enrol, or finish an enrolment that was cut short. Returns the identity, durable on disk.

    `say`: called with a line for people whenever there is something to wait for.
    Raises BadToken, AlreadyEnrolled (without force), NotTrusted (wrong pin), ClockWrong, ControllerUnreachable, TooManyTries,
    ControllerRefused (TOKEN_UNKNOWN, TOKEN_EXPIRED, TOKEN_USED).
    """
    try:
        token = parse_join_token(token_text)
    except ValueError as error:
        raise BadToken(str(error)) from error
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _one_at_a_time(config.state_dir):
        _refuse_second(config.state_dir, force=force)
        retry = Retry(clock, clock.sleep_seconds, window_seconds=RETRY_SECONDS)
        say(f"Asking the controller at {token.address} to enrol this host.")
        root = retry(_announcing(say, lambda: _root(token, clock)))
        identity = _enroll(token, root, kept_key(config.state_dir / KEY_FILE_NAME), config.host_name, retry, say)
        save_identity(config.state_dir, identity)
        (config.state_dir / KEY_FILE_NAME).unlink(missing_ok=True)
    return identity


@contextmanager
def _one_at_a_time(state_dir: Path) -> Iterator[None]:
    with (state_dir / "join.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse_second(state_dir: Path, *, force: bool) -> None:
    if force or not (state_dir / FILE_NAME).exists():
        return
    raise AlreadyEnrolled(f"this host is enrolled already, as agent {load_identity(state_dir).agent_id}")


def _announcing(say: Callable[[str], None], call: Callable[[], T]) -> Callable[[], T]:
    """The call, with the first silence told: it is asked again for a while, and people watch."""
    told = False

    def announced() -> T:
        nonlocal told
        try:
            return call()
        except ControllerSilent as error:
            if not told:
                say(f"No answer yet, trying for {RETRY_SECONDS:.0f} seconds: {error}")
                told = True
            raise

    return announced


def _root(token: JoinToken, clock: Clock) -> bytes:
    return first_that_answers(token.addresses, lambda address: fetch_root(address, token.ca_sha256, clock.now_us()))


def _enroll(
    token: JoinToken, root_pem: bytes, key_pem: str, host_name: str, retry: Retry, say: Callable[[str], None]
) -> Identity:
    request = enroll_pb2.EnrollRequest(
        token_id=token.token_id,
        token_secret=token.secret,
        csr_der=signing_request(key_pem),
        host_name=host_name or socket.gethostname(),
    )

    def ask(address: str) -> enroll_pb2.EnrollResponse:
        with enrolment_channel(address, root_pem) as channel:
            try:
                return enroll_pb2_grpc.EnrollServiceStub(channel).Enroll(request, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                raise mapped(error) from error

    answer = retry(_announcing(say, lambda: first_that_answers(token.addresses, ask)))
    return Identity(
        answer.agent_id,
        answer.agent_address,
        answer.certificate_pem.decode(),
        key_pem,
        answer.ca_bundle_pem.decode(),
        host_name,
        token.address,
    )
