"""In the place of `grpc.aio.server`: the real interceptors and handlers, called with the bytes of a request."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc
from grpc import aio


class Refused(Exception):
    """The call was answered with a status."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, bytes]]) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details
        self.trailing = tuple(trailing)


class _Details:
    """`grpc.HandlerCallDetails`."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class CallContext:
    """What handlers and interceptors ask of a `grpc.aio.ServicerContext`."""

    def __init__(self, who: Any) -> None:
        self._who = who
        self.refused: Refused | None = None

    def auth_context(self) -> dict[str, list[bytes]]:
        who = self._who
        return {"peer_uri": [who.peer_uri], "x509_pem_cert": [who.certificate_pem]} if who.peer_uri else {}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._who.metadata)

    def peer(self) -> str:
        return "ipv4:192.0.2.1:40000"

    async def abort_with_status(self, status: Any) -> None:
        self.refused = Refused(status.code, status.details, tuple(status.trailing_metadata))
        raise aio.AbortError


class SimulatedServer:
    """`listen` and `leave` are told when the port opens and closes."""

    def __init__(
        self,
        interceptors: Sequence[Any],
        listen: "Callable[[str, SimulatedServer], None]",
        leave: "Callable[[str, SimulatedServer], None]",
    ) -> None:
        self._interceptors = tuple(interceptors)
        self._listen = listen
        self._leave = leave
        self._generic: list[Any] = []
        self._handlers: dict[str, Any] = {}
        self._address = ""
        self.started = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """The generic ones are the same."""

    def add_secure_port(self, address: str, credentials: Any) -> int:
        self._address = address
        return int(address.rpartition(":")[2])

    async def start(self) -> None:
        self.started = True
        self._listen(self._address, self)

    async def stop(self, grace: float | None) -> None:
        """Calls under way go on until their process ends."""
        self.started = False
        self._leave(self._address, self)
        await asyncio.sleep(min(grace or 0.0, 0.1))

    async def handle(self, method: str, request: bytes, who: Any) -> bytes:
        """Raises Refused."""
        handler = self._handlers.get(method)
        if handler is None:
            handler = self._handlers[method] = await self._find(method)
        if handler is None:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {method}", ())
        context = CallContext(who)
        try:
            answer = await handler.unary_unary(handler.request_deserializer(request), context)
        except aio.AbortError:
            if context.refused is None:
                raise
            raise context.refused from None
        return bytes(handler.response_serializer(answer))

    async def _find(self, method: str) -> Any:
        async def registered(details: Any) -> Any:
            found = (generic.service(details) for generic in self._generic)
            return next((handler for handler in found if handler is not None), None)

        find: Any = registered
        for interceptor in reversed(self._interceptors):
            find = partial(interceptor.intercept_service, find)
        return await find(_Details(method))
