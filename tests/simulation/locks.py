"""A lock for fibres: whoever waits for it parks, so that its holder can go on."""

import asyncio
from typing import Any

from .fibres import parked, wait_for

LOOK_SECONDS = 0.02


class ParkedLock:
    """`threading.Lock`."""

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        waited = 0.0
        while self._held:
            if not blocking or 0 <= timeout <= waited:
                return False
            if not parked():
                raise RuntimeError("a lock is waited for outside of a fibre")
            wait_for(lambda: asyncio.sleep(LOOK_SECONDS))
            waited += LOOK_SECONDS
        self._held = True
        return True

    def release(self) -> None:
        self._held = False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()
