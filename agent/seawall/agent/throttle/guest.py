"""The guest comes first: a thread looks at its disk latency several times a second and sets the rate at which its disks may be read.

One per backup, made as the worker's first step, so that it has seen the guest in peace when the backup begins.
"""

import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.errors import AgentError
from seawall.agent.throttle.bucket_pace import BucketPace
from seawall.agent.throttle.idle import Ceiling, IdleLatency
from seawall.agent.throttle.latency import GuestLatency, Look
from seawall.agent.throttle.rate_control import ALONE_BYTES_PER_SECOND, START_BYTES_PER_SECOND, RateControl
from seawall.repository.clock import Clock

LOOK_SECONDS = 0.2
FIRST_SIGN_SECONDS = 0.5
"""A guest that did nothing until then has no idle latency to be waited for."""
PEACE_SECONDS = 1.0
"""So long a guest that uses its disks is watched before the backup begins."""
BEFORE_OTHERS = 0
"""Nice value of the watching thread; the worker's own is higher."""

_log = structlog.get_logger("seawall.agent.worker")


class GuestWatch:
    """A context manager: the thread runs inside. `pace` holds reading back once `hold_back` was called."""

    def __init__(self, look: Callable[[], Look] | None, clock: Clock, check: Callable[[], None]) -> None:
        """`look`: the guest's block counts; raises AgentError. None, or no disk in them: nobody can tell, and nothing is held back."""
        self._look, self._clock = look, clock
        self.pace = BucketPace(clock, check, self._sentence)
        self._latency = GuestLatency()
        self._idle = IdleLatency()
        self._ceiling: Ceiling | None = None
        self._control: RateControl | None = None
        self._worst = ("", 0.0, 0.0)  # disk, its latency, its ceiling
        self._highest = ("", 0.0, 0.0)
        self._admitted_bytes = 0
        self._looked_seconds = self._started_seconds = clock.monotonic_seconds()
        self._known: bool | None = None  # whether there are counts; None: not looked at yet, or never with success
        self._missed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guest latency", daemon=True)

    def __enter__(self) -> Self:
        if self._look is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def know_in_peace(self, pause: Callable[[float], object]) -> None:
        """Before the snapshot: give the idle latency time to show, where there is any to be seen. `pause` raises what stops the worker."""
        while self._look is not None and self._seconds < PEACE_SECONDS:
            if self._seconds > FIRST_SIGN_SECONDS and not self._idle.seen:
                return
            pause(LOOK_SECONDS / 2)

    def hold_back(self, ceiling_ms: int, times_idle: float) -> None:
        """From now on. `ceiling_ms` 0: `times_idle` x what the guest's requests took until now."""
        ceiling = Ceiling(ceiling_ms, self._idle.known, times_idle)
        control = RateControl(forgiving=not ceiling.absolute, rate=self._start())
        self._ceiling, self._control = ceiling, control
        _log.info("guest_latency", idle_ms=dict(self._idle.known), ceiling_said_ms=ceiling_ms)
        if self._look is not None and self._known is not False:
            self.pace.limit_bytes(control.rate)

    def _start(self) -> float:
        """A guest that could not be looked at, or not for long enough, is not known to be idle."""
        idle = self._known and not self._idle.seen and self._seconds >= FIRST_SIGN_SECONDS
        return ALONE_BYTES_PER_SECOND if idle else START_BYTES_PER_SECOND

    def summary(self) -> str:
        """What the operator reads afterwards; "" where nothing was held back."""
        seconds = self.pace.held_back_seconds
        if seconds < 1.0 or self._ceiling is None:
            return ""
        disk, latency, ceiling = self._highest
        told = f"Reading was held back for {seconds:.0f} s for the guest's sake"
        if latency <= ceiling:
            return f"{told}."
        of = "set" if self._ceiling.absolute else "from what they took before"
        return f"{told}: requests to {disk} took up to {latency:.1f} ms, above the ceiling of {ceiling:.1f} ms ({of})."

    def _sentence(self) -> str:
        disk, latency, ceiling = self._worst
        if self._missed:
            return "guest latency (libvirt does not tell it)"
        return f"guest latency ({disk}: {latency:.1f} ms, ceiling {ceiling:.1f} ms)" if disk else "guest latency"

    @property
    def _seconds(self) -> float:
        return self._clock.monotonic_seconds() - self._started_seconds

    def _run(self) -> None:
        with suppress(OSError):  # not every worker may
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEFORE_OTHERS)
        while self._look is not None and not self._over.is_set():
            try:
                self._see(self._look())
            except AgentError as error:
                self._miss(str(error))
            except Exception as error:  # whatever it is, it makes nobody blind to the guest for the rest of the backup
                _log.exception("guest_latency_failed")
                self._miss(str(error))
            self._over.wait(LOOK_SECONDS)

    def _see(self, look: Look) -> None:
        now = self._clock.monotonic_seconds()
        latencies = self._latency.feed(look, now)
        self._known, self._missed = bool(look), False
        admitted = self.pace.admitted_bytes
        used = (admitted - self._admitted_bytes) / max(now - self._looked_seconds, 0.001)
        self._admitted_bytes, self._looked_seconds = admitted, now
        if self._control is None or self._ceiling is None:
            return self._idle.feed(latencies)
        disk, pressure = self._ceiling.worst(latencies)
        if disk:
            self._worst = (disk, latencies[disk], self._ceiling.of(disk))
            self._highest = max(self._highest, self._worst, key=lambda one: one[1])
        self._control.see(pressure, used, now)
        self.pace.limit_bytes(self._control.rate if look else math.inf)

    def _miss(self, error: str) -> None:
        if not self._missed:
            _log.warning("guest_latency_unknown", error=error)
        self._missed = True
        if self._control is not None and self._known is not False:
            self._control.miss(self._clock.monotonic_seconds())
            self.pace.limit_bytes(self._control.rate)
