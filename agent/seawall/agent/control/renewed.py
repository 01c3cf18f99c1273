"""A worker's channel that goes on with the host's newest certificate: an attempt may outlive the one that it began with."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import structlog

from seawall.agent.control.errors import NotEnrolled
from seawall.agent.control.identity import FILE_NAME, Identity, load_identity

_log = structlog.get_logger("seawall.agent.worker")


class RenewedChannel:
    """The part of grpc.Channel that stubs use. Thread-safe."""

    def __init__(self, state_dir: Path, identity: Identity, to: Callable[[Identity], grpc.Channel]) -> None:
        """`to`: a channel with this identity; all are open until `close`, as calls may be under way on older ones."""
        self._state_dir = state_dir
        self._to = to
        self._lock = threading.Lock()
        self._agent_id = identity.agent_id
        self._seen = self._written()
        self._channels = [to(identity)]

    def unary_unary(self, *how: Any, **named: Any) -> Callable[..., Any]:
        def call(request: Any, timeout: float | None = None) -> Any:
            return self._newest().unary_unary(*how, **named)(request, timeout=timeout)

        return call

    def _newest(self) -> grpc.Channel:
        with self._lock:
            written = self._written()
            if written not in (None, self._seen):
                self._seen = written
                self._reopen()
            return self._channels[-1]

    def _reopen(self) -> None:
        try:
            identity = load_identity(self._state_dir)
        except NotEnrolled as error:
            _log.warning("identity_not_read", error=str(error))
            return
        if identity.agent_id == self._agent_id:  # else the host joined anew, and this attempt is not that one's
            self._channels.append(self._to(identity))

    def _written(self) -> tuple[int, int] | None:
        """Another value for another file; None: it cannot be looked at."""
        try:
            found = os.stat(self._state_dir / FILE_NAME)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def close(self) -> None:
        with self._lock:
            for channel in self._channels:
                channel.close()
