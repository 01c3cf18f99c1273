"""Tells somebody after each call of an operator that may have changed something."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from seawall.controller.server.around import AroundInterceptor, Interceptor
from seawall.controller.server.standby import READS

_HEALTH = "/grpc.health.v1.Health/"


def after_changes(tell: Callable[[], None]) -> Interceptor:
    """To be inside whatever refuses calls: what was refused changed nothing. Enrolment counts as a change."""

    @asynccontextmanager
    async def around(method: str, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[None]:
        yield
        if not method.startswith(_HEALTH) and not method.rpartition("/")[2].startswith(READS):
            tell()

    return AroundInterceptor(around)
