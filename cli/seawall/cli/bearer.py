"""A bearer token with each call.

Not as gRPC's call credentials: it asks such a plugin in threads of its own and lets go of it there, which needs Python's lock. A command
that closes its channel, or ends, in that moment holds the lock and waits for those threads (grpc/grpc#42247): seen twice in some ten
thousand commands, which had answered and never ended.
"""

from collections.abc import Callable
from typing import Any

import grpc


class BearerChannel:
    """The part of grpc.Channel that stubs use, on a channel that is TLS: the token goes to whoever answers there."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    def unary_unary(self, *how: Any, **named: Any) -> "_Authorized":
        return _Authorized(self._channel.unary_unary(*how, **named), self._metadata)

    def unary_stream(self, *how: Any, **named: Any) -> "_Authorized":
        return _Authorized(self._channel.unary_stream(*how, **named), self._metadata)


class _Authorized:
    """One method of a stub."""

    def __init__(self, method: Callable[..., Any], metadata: tuple[tuple[str, str], ...]) -> None:
        self._method = method
        self._metadata = metadata

    def __call__(self, request: Any, timeout: float | None = None) -> Any:
        return self._method(request, timeout=timeout, metadata=self._metadata)

    def future(self, request: Any, timeout: float | None = None) -> Any:
        """Of unary methods."""
        return self._method.future(request, timeout=timeout, metadata=self._metadata)  # type: ignore[attr-defined]
