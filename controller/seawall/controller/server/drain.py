"""The end of a controller: SIGTERM starts the drain, long-polls end at once, then the servers stop."""

import asyncio
import signal
from collections.abc import Awaitable, Collection

from seawall.controller.errors import Unavailable

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CANCEL_SECONDS = 1.0
"""For what a task does when it is cancelled: it may wait for a process that the kernel does not let go."""


class Drain:
    """Starts once, for good. Belongs to one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def started(self) -> bool:
        return self._event.is_set()

    def start(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Returns when the drain starts."""
        await self._event.wait()

    def refuse_if_started(self) -> None:
        """For calls that would begin something long. Raises Unavailable/DRAINING."""
        if self.started:
            raise Unavailable("DRAINING", "This controller is stopping; try again shortly.")

    async def first(self, condition: Awaitable[object], timeout_seconds: float) -> bool:
        """Wait as a long-poll does: True when the condition came, False on the time-out or the drain; the condition is cancelled then."""
        waiting = asyncio.ensure_future(condition)
        draining = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait(
                {waiting, draining}, timeout=max(0.0, timeout_seconds), return_when=asyncio.FIRST_COMPLETED
            )
            if waiting.done():
                waiting.result()
                return True
            return False
        finally:
            waiting.cancel()
            draining.cancel()

    def on_signals(self) -> None:
        """SIGTERM and SIGINT of this process start the drain."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.start)


async def end_tasks(tasks: Collection["asyncio.Task[None]"], seconds: float) -> list["asyncio.Task[None]"]:
    """Returns when all are over. Those that are not after so long are given up and returned; a thread that one waits for goes on."""
    if not tasks:
        return []
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=CANCEL_SECONDS)
    return list(late)
