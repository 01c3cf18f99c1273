"""A worker's mouth: its progress as events on stdout, at once when the phase changes, and twice a second."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from seawall.agent.control.messages import DiskProgress, Progress
from seawall.agent.limits.traffic import Traffic
from seawall.agent.worker.meter import Meter
from seawall.agent.worker.pipe import End, Ended, Event, Step, event_line
from seawall.repository.clock import Clock

INTERVAL_SECONDS = 0.5

WAITS_SEEN = 20
"""Reports over which the bottleneck is told: ten seconds."""

DiskReader = Callable[[], DiskProgress]
"""Reads one disk's counters now."""


class Reporter:
    """Thread-safe. The supervisor may be gone: then nothing is written and nothing fails."""

    def __init__(self, attempt_id: str, out: BinaryIO, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._progress = Progress(attempt_id)
        self._disks: tuple[DiskReader, ...] = ()
        self._waits: Callable[[], str] = lambda: ""
        self._held_up: Callable[[], str] = lambda: ""
        self._paced: Callable[[Progress], Progress] = lambda progress: progress
        self._traffic: Callable[[], Traffic] | None = None
        self._seen: deque[str] = deque(maxlen=WAITS_SEEN)
        self._meter = Meter()
        self._done = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Report now and then until left."""
        thread = threading.Thread(target=self._tick, name="reporter", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def phase(self, phase: str, state: str | None = None) -> None:
        with self._lock:
            self._progress = replace(self._progress, phase=phase, state=state or self._progress.state)
        self._report()

    def watch(self, disks: tuple[DiskReader, ...], waits_for: Callable[[], str] | None = None) -> None:
        """From now on these disks are part of each report. `waits_for` says what the work waits for now: "source", "store", ..."""
        with self._lock:
            self._disks = disks
            self._waits = waits_for or self._waits
            self._seen.clear()

    def held_up_by(self, sentence: Callable[[], str]) -> None:
        """`sentence` says what holds the work up at this moment, "" when nothing does."""
        with self._lock:
            self._held_up = sentence

    def paced_by(self, told: Callable[[Progress], Progress]) -> None:
        """`told` adds how fast the work may go, and how it went so far, to each report."""
        with self._lock:
            self._paced = told

    def counts(self, traffic: Callable[[], Traffic]) -> None:
        """`traffic` says what goes to stores and comes from them; told beside each report."""
        with self._lock:
            self._traffic = traffic

    def now(self) -> Progress:
        """A fresh report, numbered: what goes with CompleteAttempt and FailAttempt."""
        with self._lock:
            return self._next()

    def step(self, step: Step) -> None:
        self._write(step)

    def end(self, end: End) -> None:
        self._write(Ended(end))

    def _tick(self) -> None:
        while not self._done.wait(INTERVAL_SECONDS):
            self._report()
            if self._traffic is not None:
                self._write(self._traffic())

    def _report(self) -> None:
        with self._lock:
            self._write(self._next())

    def _next(self) -> Progress:
        disks = tuple(read() for read in self._disks)
        moved = sum(disk.read_bytes for disk in disks)
        self._meter.feed(moved, self._clock.monotonic_seconds())
        remaining = sum(max(disk.planned_bytes - disk.read_bytes, 0) for disk in disks)
        self._progress = replace(
            self._progress,
            seq=self._progress.seq + 1,
            disks=disks,
            rate_bytes_per_second=int(self._meter.rate),
            eta_seconds=self._meter.eta_seconds(remaining),
            bottleneck=self._bottleneck(),
            waiting_on=self._held_up(),
        )
        self._progress = self._paced(self._progress)
        return self._progress

    def _bottleneck(self) -> str:
        """What was waited for most often lately."""
        self._seen.append(self._waits())
        return Counter(self._seen).most_common(1)[0][0]

    def _write(self, event: Event) -> None:
        try:
            with self._write_lock:
                self._out.write(event_line(event))
                self._out.flush()
        except (OSError, ValueError):  # the reader is gone, or the interpreter is closing: the stop flag knows already
            self._done.set()
