"""Clocks of simulated machines: the loop's time, a wall clock that can be set wrong, and pauses that park a fibre."""

import asyncio

from .fibres import wait_for


class MachineClock:
    """A `Clock`. `skew_us` moves the wall clock alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_us: int, booted_seconds: float = 1000.0) -> None:
        self._loop = loop
        self._start_us = start_us
        self._booted_seconds = booted_seconds
        self.skew_us = 0

    def now_us(self) -> int:
        return self._start_us + int(self._loop.time() * 1_000_000) + self.skew_us

    def monotonic_seconds(self) -> float:
        return self._booted_seconds + self._loop.time()

    def sleep_seconds(self, seconds: float) -> None:
        wait_for(lambda: asyncio.sleep(seconds))
