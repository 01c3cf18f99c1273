"""What a controller that does not lead answers: reads of the database, and hosts that enrol. For the rest it names the leader."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.around import AroundInterceptor, Interceptor

EVERYWHERE = ("/seawall.api.v1.EnrollService/", "/grpc.health.v1.Health/")
READS = ("Get", "List", "Watch", "Explain", "Preview")
"""Beginnings of methods that change nothing and ask nobody but the database."""


def leader_only(lease: LeaderLease) -> Interceptor:
    """Raises Unavailable/NOT_LEADER with the leader's addresses."""

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        if not method.startswith(EVERYWHERE) and not method.rpartition("/")[2].startswith(READS):
            lease.require()
        yield

    return AroundInterceptor(around)
