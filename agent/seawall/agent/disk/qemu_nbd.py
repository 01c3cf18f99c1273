"""qemu-nbd as a process of ours: a server for one image on a unix socket. Only this module starts it.

It ends with its last client, so it does not outlive this process once connected. Before that it belongs to this process' group, which the
supervisor kills as a whole, and `qemu_nbd_orphans` finds it by its socket.
"""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from seawall.agent.disk.nbd import NbdConnection, was_refused
from seawall.agent.disk.qemu_nbd_orphans import SOCKET_OPTION, TOOL
from seawall.agent.errors import AgentError
from seawall.repository.clock import Clock

_LAST_WORDS_BYTES = 2000
AGAIN_SECONDS = 0.01
LEAVE_SECONDS = 2.0
"""How long a server that hung up may take to end, and to say why."""

T = TypeVar("T")

Failure = Callable[[str, Exception], AgentError]
"""(what failed, why) -> the error to raise."""


class NbdServer:
    """One image, served."""

    def __init__(
        self,
        arguments: Sequence[str],
        what: str,
        socket: Path,
        clock: Clock,
        failure: Failure,
        *,
        timeout_seconds: float = 60.0,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Starts it. `what`: the image, for messages; `descriptors`: open files that `arguments` name. Raises what `failure` makes."""
        self._what, self._socket, self._clock, self._failure = what, socket, clock, failure
        self._timeout_seconds = timeout_seconds
        try:
            self._process = subprocess.Popen(
                [TOOL, f"{SOCKET_OPTION}{socket}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
            )
        except OSError as error:
            missing = AgentError(f"{error}; install qemu-utils on that host")
            raise failure("qemu-nbd could not be started", missing) from error

    def await_socket(self) -> None:
        """Returns once the socket is there."""
        deadline = self._clock.monotonic_seconds() + self._timeout_seconds
        while not self._socket.exists() and self._process.poll() is None:
            if self._clock.monotonic_seconds() > deadline:
                raise self._failure(f"qemu-nbd for {self._what} failed", TimeoutError("it did not listen in time"))
            self._clock.sleep_seconds(AGAIN_SECONDS)
        self._raise_if_ended(0, None)

    def connected(self, connect: Callable[[], T]) -> T:
        """What `connect` makes, once the server answers. It makes its socket long before it has opened the image, and listens in between.

        Raises what `connect` raises, but the server's own words where it ended.
        """
        self.await_socket()
        deadline = self._clock.monotonic_seconds() + self._timeout_seconds
        while True:
            try:
                return connect()
            except AgentError as error:
                refused = was_refused(error)
                self._raise_if_ended(AGAIN_SECONDS if refused else LEAVE_SECONDS, error)
                if not refused or self._clock.monotonic_seconds() > deadline:
                    raise

    def connect(self) -> NbdConnection:
        """A connection to the export without a name."""
        return self.connected(
            lambda: NbdConnection(self._socket, "", (), self._clock, self._timeout_seconds, self._failure)
        )

    def wait(self) -> None:
        """After the last connection was closed: until the image is closed too. Raises what `failure` makes where that fails."""
        try:
            code = self._process.wait(self._timeout_seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise self._failure(f"qemu-nbd for {self._what} did not end", error) from error
        if code:
            raise self._failure(f"qemu-nbd for {self._what} failed", AgentError(self._last_words()))
        self._close()

    def kill(self) -> None:
        """End it now; an image that is written to may be torn."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _raise_if_ended(self, grace_seconds: float, cause: Exception | None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        if self._process.poll() is not None:
            raise self._failure(f"qemu-nbd for {self._what} ended", AgentError(self._last_words())) from cause

    def _last_words(self) -> str:
        stderr = self._process.stderr
        if stderr is None or stderr.closed:
            return ""
        return stderr.read(_LAST_WORDS_BYTES).decode(errors="replace").strip()

    def _close(self) -> None:
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._socket.unlink(missing_ok=True)
