"""Who calls: operators by bearer token on the operator port, agents by certificate on the agent port."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from grpc import aio

from seawall.controller.errors import Unauthenticated
from seawall.controller.records.users import Caller
from seawall.controller.server.around import AroundInterceptor, Interceptor

HEALTH = "/grpc.health.v1.Health/"
"""Says nothing secret, and asks nobody: whoever waits for an answer finds out by it whether this process is there at all."""

OPEN_METHODS = ("/seawall.api.v1.EnrollService/", HEALTH)
"""Served on the operator port without a token: whoever enrols has none yet."""

AgentCheck = Callable[[str], Awaitable[None]]
"""Called with the agent's id on every call. Raises Unauthenticated/AGENT_REVOKED when it may not speak."""

OperatorCheck = Callable[[bytes], Awaitable[Caller | None]]
"""Called with the SHA-256 of a call's token: whose it is; None: nobody's."""

_IDENTITY = re.compile(r"seawall://(?P<cluster>[0-9a-f-]{36})/agent/(?P<agent>[0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class _Agent:
    """What an agent's certificate says."""

    cluster: str
    agent: str
    certificate_pem: bytes


_AGENT: ContextVar[tuple[object, _Agent] | None] = ContextVar("agent", default=None)
"""Of the call that this task answers: (its context, who calls)."""

_OPERATOR: ContextVar[tuple[object, Caller] | None] = ContextVar("operator", default=None)
"""The same on the operator port."""


def operator_auth(check: OperatorCheck) -> Interceptor:
    """Lets calls through whose `authorization: Bearer <token>` is somebody's; `operator_of` says whose.

    Raises Unauthenticated/NO_TOKEN, BAD_TOKEN and what `check` raises.
    """

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        if not method.startswith(OPEN_METHODS):
            _OPERATOR.set((context, await _operator(context, check)))
        yield

    return AroundInterceptor(around)


def agent_auth(cluster_id: str, root_above: Callable[[bytes], str], check: AgentCheck) -> Interceptor:
    """Lets calls through that come with a certificate of this cluster and pass `check`, and those of the health service.

    `root_above` says under which root a certificate (PEM) was issued, "" for one that is retired: the handshake may be older than that.
    Raises Unauthenticated/NO_CERTIFICATE, CERTIFICATE_RETIRED and what `check` raises.
    """

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        if method.startswith(HEALTH):  # the handshake took its certificate; whether it was revoked is in the database
            yield
            return
        caller = _caller(context)
        _AGENT.set((context, caller))
        if caller.cluster != cluster_id:
            raise Unauthenticated(
                "NO_CERTIFICATE", "The certificate is of another Seawall cluster; enrol this host here."
            )
        if not root_above(caller.certificate_pem):
            raise Unauthenticated(
                "CERTIFICATE_RETIRED",
                "The authority that signed this host's certificate was replaced; the agent gets a new one by itself.",
            )
        await check(caller.agent)
        yield

    return AroundInterceptor(around)


def operator_of(context: "aio.ServicerContext[Any, Any]") -> Caller:
    """The calling operator, as the interceptor of this call found it. Raises Unauthenticated/NO_TOKEN."""
    known = _OPERATOR.get()
    if known is None or known[0] is not context:
        raise _no_token()
    return known[1]


def agent_id_of(context: "aio.ServicerContext[Any, Any]") -> str:
    """The calling agent, from its certificate's SAN. Raises Unauthenticated/NO_CERTIFICATE."""
    return _known(context).agent


def certificate_of(context: "aio.ServicerContext[Any, Any]") -> bytes:
    """The caller's own certificate, PEM."""
    return _known(context).certificate_pem


def _known(context: "aio.ServicerContext[Any, Any]") -> _Agent:
    """As the interceptor of this call found it: gRPC makes all properties of the connection anew each time it is asked for one."""
    known = _AGENT.get()
    return known[1] if known is not None and known[0] is context else _caller(context)


def _caller(context: "aio.ServicerContext[Any, Any]") -> _Agent:
    found = context.auth_context()
    matches = [match for match in (_IDENTITY.fullmatch(_text(name)) for name in found.get("peer_uri", [])) if match]
    if len(matches) != 1:
        raise Unauthenticated(
            "NO_CERTIFICATE", "This call needs the certificate of an enrolled agent; run `seawall agent join`."
        )
    certificate = b"".join(_text(each).encode() for each in found.get("x509_pem_cert", []))
    return _Agent(matches[0]["cluster"], matches[0]["agent"], certificate)


async def _operator(context: "aio.ServicerContext[Any, Any]", check: OperatorCheck) -> Caller:
    given = [_text(value) for key, value in context.invocation_metadata() or () if key == "authorization"]
    if not given:
        raise _no_token()
    scheme, _, token = given[0].partition(" ")
    caller = await check(hashlib.sha256(token.strip().encode()).digest())
    if len(given) != 1 or scheme.lower() != "bearer" or caller is None:
        raise Unauthenticated(
            "BAD_TOKEN",
            "The operator's token is not one of this controller's, or no longer: copy operator.toml anew, or ask an admin "
            "for a new one (seawall user renew).",
        )
    return caller


def _no_token() -> Unauthenticated:
    return Unauthenticated(
        "NO_TOKEN",
        "This call needs an operator's token; `controller init` wrote one into operator.toml, and `user add` writes others.",
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
