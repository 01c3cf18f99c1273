"""An operator.toml that names a certificate authority which was replaced since: followed to the new one, and brought up to date."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc

from seawall.agent.control.errors import ControllerSilent, NotTrusted
from seawall.cli.operator_config import OperatorConfig
from seawall.controller.files import write_file
from seawall.repository.clock import SystemClock, datetime_of

NOT_VERIFIED = "CERTIFICATE_VERIFY_FAILED"
"""In the words of gRPC for a server that another authority vouches for."""

Open = Callable[[OperatorConfig], grpc.Channel]


class AuthorityChannel:
    """The part of grpc.Channel that stubs use. The first call that meets another authority than the file names looks for it, once."""

    def __init__(
        self, config: OperatorConfig, open_channel: Open, on_followed: Callable[[OperatorConfig, OperatorConfig], None]
    ) -> None:
        """`on_followed`: is told the configuration before and after."""
        self._config = config
        self._open = open_channel
        self._on_followed = on_followed
        self._channel = open_channel(config)
        self._followed = False

    def unary_unary(self, *how: Any, **named: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None) -> Any:
            try:
                return self._channel.unary_unary(*how, **named)(request, timeout=timeout)
            except grpc.RpcError as error:
                if not self._follow(error):
                    raise
            return self._channel.unary_unary(*how, **named)(request, timeout=timeout)

        return call

    def unary_stream(self, *how: Any, **named: Any) -> Callable[..., Iterator[Any]]:
        def call(request: Any, timeout: float | None = None) -> Iterator[Any]:
            try:
                yield from self._channel.unary_stream(*how, **named)(request, timeout=timeout)
                return
            except grpc.RpcError as error:
                if not self._follow(error):
                    raise
            yield from self._channel.unary_stream(*how, **named)(request, timeout=timeout)

        return call

    def _follow(self, error: grpc.RpcError) -> bool:
        """Whether there is a channel by now that trusts what answers. Before any answer came: a handshake failed."""
        if self._followed or NOT_VERIFIED not in (error.details() or ""):
            return False
        self._followed = True
        root = followed(self._config)
        if root is None:
            return False
        before, self._config = self._config, replace(self._config, ca_pem=root)
        self._channel = self._open(self._config)
        self._on_followed(before, self._config)
        return True


def followed(config: OperatorConfig) -> str | None:
    """The root that a controller shows, PEM, if the one in the file vouches for it; None: it is somebody else's, or nobody answers."""
    # Here and not above: they read certificates, which takes a seventh of the time that a command needs to begin.
    from seawall.agent.control.pinned import presented_chain
    from seawall.api.successors import successor

    for address in config.address.split(","):
        with suppress(ControllerSilent, NotTrusted):
            root = successor(config.ca_pem.encode(), presented_chain(address), datetime_of(SystemClock().now_us()))
            if root is not None and root.decode() != config.ca_pem:
                return root.decode()
    return None


def rewrite(before: OperatorConfig, after: OperatorConfig) -> bool:
    """The file with the new root, whole or not at all, all else in it kept. Whether it could be written: if not, the next command follows
    anew.
    """
    path = after.path.resolve()
    try:
        text, found = path.read_text(encoding="utf-8"), path.stat()
        if before.ca_pem.strip() not in text:
            return False
        fresh = text.replace(before.ca_pem.strip(), after.ca_pem.strip())
        write_file(path, fresh.encode(), found.st_mode & 0o777, (found.st_uid, found.st_gid))
    except OSError:
        return False
    return True
