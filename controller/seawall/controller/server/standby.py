"""What a controller that does not lead answers: what asks the database alone, and hosts that enrol. For the rest it names the leader."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.around import AroundInterceptor, Interceptor

EVERYWHERE = ("/seawall.api.v1.EnrollService/", "/grpc.health.v1.Health/")
READS = ("Get", "List", "Watch", "Explain", "Preview")
"""Beginnings of methods that change nothing and ask nobody but the database."""

OF_ITS_MACHINE = ("ListHooks",)
"""Reads, but of files that the leader calls."""

OF_THE_LEADER = ("AcceptAttempt", "Lookup", "SealPack", "PackStored", "SealHandIn", "GetReadUrls", "CompleteAttempt")
"""What a worker asks of an open repository: its index, its keys, the order of publications. All else that agents ask is in the database."""


def leader_only(lease: LeaderLease) -> Interceptor:
    """Raises Unavailable/NOT_LEADER with the leader's addresses."""

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        name = method.rpartition("/")[2]
        if not method.startswith(EVERYWHERE) and (name in OF_ITS_MACHINE or not name.startswith(READS)):
            lease.require()
        yield

    return AroundInterceptor(around)


def repository_of_leader(lease: LeaderLease) -> Interceptor:
    """For the agent port. Raises Unavailable/NOT_LEADER with the leader's addresses: the worker goes there."""

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        if method.rpartition("/")[2] in OF_THE_LEADER:
            lease.require()
        yield

    return AroundInterceptor(around)
