"""LimitService on the wire."""

from typing import Any

from grpc import aio

from seawall.api.v1 import limits_pb2, limits_pb2_grpc
from seawall.controller.services.explaining import Explaining
from seawall.controller.services.limits import LimitOrders

Context = aio.ServicerContext[Any, Any]


class LimitServicer(limits_pb2_grpc.LimitServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(self, orders: LimitOrders, explaining: Explaining) -> None:
        self._orders = orders
        self._explaining = explaining

    async def ListLimits(
        self, request: limits_pb2.ListLimitsRequest, context: Context
    ) -> limits_pb2.ListLimitsResponse:
        return await self._orders.listed(request)

    async def SetLimit(self, request: limits_pb2.SetLimitRequest, context: Context) -> limits_pb2.SetLimitResponse:
        return limits_pb2.SetLimitResponse(limits=await self._orders.set(request))

    async def UnsetLimit(
        self, request: limits_pb2.UnsetLimitRequest, context: Context
    ) -> limits_pb2.UnsetLimitResponse:
        return limits_pb2.UnsetLimitResponse(limits=await self._orders.unset(request))

    async def SetApart(self, request: limits_pb2.SetApartRequest, context: Context) -> limits_pb2.SetApartResponse:
        return (await self._orders.set_apart(request)).message()

    async def GetHost(self, request: limits_pb2.GetHostRequest, context: Context) -> limits_pb2.GetHostResponse:
        return limits_pb2.GetHostResponse(host=await self._orders.host(request.host))

    async def SetHost(self, request: limits_pb2.SetHostRequest, context: Context) -> limits_pb2.SetHostResponse:
        return limits_pb2.SetHostResponse(host=await self._orders.set_host(request))

    async def ExplainRun(
        self, request: limits_pb2.ExplainRunRequest, context: Context
    ) -> limits_pb2.ExplainRunResponse:
        return await self._explaining.explain(request.run)
