"""An interceptor that runs something around every call: `around` is an asynchronous context manager that sees the method and the context.

What `around` raises before the yield ends the call; what the handler raises comes out of the yield. Unary and server-streaming methods
only: Seawall has no other.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

import grpc
from grpc import aio

Around = Callable[[str, "aio.ServicerContext[Any, Any]"], AbstractAsyncContextManager[None]]


Interceptor: TypeAlias = "aio.ServerInterceptor[Any, Any]"


class AroundInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Interceptors nest in the order in which the server gets them, the first outermost."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._wrapped: dict[str, tuple[Any, Any]] = {}
        """Method -> (handler, the same with `around`), so that it is made once, not for each call."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler:
            if handler.request_streaming:
                raise TypeError(f"{method}: streams of requests are not served")
            wrapped = _wrapped(handler, self._around, method)
            self._wrapped[method] = handler, wrapped
        return wrapped


def _wrapped(handler: Any, around: Around, method: str) -> Any:
    """The same handler with `around` around its behaviour."""
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _streaming(handler.unary_stream, around, method), handler.request_deserializer, handler.response_serializer
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(handler.unary_unary, around, method), handler.request_deserializer, handler.response_serializer
    )


def _unary(behaviour: Any, around: Around, method: str) -> Any:
    async def call(request: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        async with around(method, context):
            return await behaviour(request, context)

    return call


def _streaming(behaviour: Any, around: Around, method: str) -> Any:
    async def call(request: Any, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[Any]:
        async with around(method, context):
            answers = behaviour(request, context)
            if hasattr(answers, "__aiter__"):
                async with aclosing(
                    answers
                ):  # a caller that goes away ends the handler now, not at the next collection
                    async for answer in answers:
                        yield answer
            else:  # a handler that writes by itself
                await answers

    return call
