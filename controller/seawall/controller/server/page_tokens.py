"""Page tokens that hold for one list, asked for in one way: one of another list or filter would answer a page that nobody asked for.

Services know the inner token alone (services/paging.py). What a list was asked is bound to it here, on its way out, and looked at on its
way in, for every method whose name begins as LISTS says.
"""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc import aio

from seawall.controller.errors import InvalidArgument
from seawall.controller.server.around import Interceptor

LISTS = ("List", "CancelRuns")
"""Beginnings of methods whose tokens are bound. StartBackup's is none of them: its token goes on with an order, also with a controller of
another version, and every request of it says which VMs."""

OF_THE_PAGE = ("page_token", "page_size", "request_id")
"""Fields that may change from page to page."""

MARK = "."
"""Between the token and what it is bound to. It is in no base64: controllers that bind nothing refuse such a token, as they must."""


def page_tokens() -> Interceptor:
    """To be the innermost interceptor. Raises InvalidArgument/BAD_PAGE_TOKEN."""
    return _PageTokens()


def bound(method: str, request: Message, token: str) -> str:
    """The token as it leaves; none stays none."""
    return f"{token}{MARK}{_asked(method, request)}" if token else ""


def unbound(method: str, request: Message, token: str) -> str:
    """What `bound` was given. Raises InvalidArgument/BAD_PAGE_TOKEN: another list, another filter, or a controller that bound nothing."""
    inner, _, asked = token.rpartition(MARK)
    if token and asked != _asked(method, request):
        raise InvalidArgument(
            "BAD_PAGE_TOKEN",
            "The page token is not of this list with this filter, or is of a controller of another version; begin again.",
        )
    return inner


def _asked(method: str, request: Message) -> str:
    said = type(request)()
    said.CopyFrom(request)
    for name in OF_THE_PAGE:
        if name in said.DESCRIPTOR.fields_by_name:
            said.ClearField(name)
    what = method.encode() + b"\0" + said.SerializeToString(deterministic=True)
    return blake2b(what, digest_size=8).hexdigest()


class _PageTokens(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[Any, Any]] = {}
        """Method -> (handler, the same that binds)."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler, method = await continuation(handler_call_details), handler_call_details.method
        if handler is None or not method.rpartition("/")[2].startswith(LISTS) or handler.response_streaming:
            return handler
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler:
            wrapped = _binding(handler, method)
            self._wrapped[method] = handler, wrapped
        return wrapped


def _binding(handler: Any, method: str) -> Any:
    async def call(request: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        asked = type(request)()
        asked.CopyFrom(request)
        request.page_token = unbound(method, asked, request.page_token)
        answer = await handler.unary_unary(request, context)
        answer.next_page_token = bound(method, asked, answer.next_page_token)
        return answer

    return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)
