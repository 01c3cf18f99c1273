"""One disk of a backup on its way: live counters, and the time from the first read to the last chunk handed over."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from seawall.agent.control.messages import DiskProgress, FinishedDisk
from seawall.agent.worker.reporter import DiskReader
from seawall.repository.clock import Clock
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.facts import DiskStats


@dataclass(slots=True)
class WrittenDisk:
    """Made when its writing begins; `finished` once the point is written."""

    target: str
    size_bytes: int
    format: str
    how: str
    why: str
    clock: Clock
    counters: DiskCounters = field(default_factory=DiskCounters)
    milliseconds: int = 0

    @contextmanager
    def timed(self) -> Iterator[DiskCounters]:
        start = self.clock.monotonic_seconds()
        yield self.counters
        self.milliseconds = round((self.clock.monotonic_seconds() - start) * 1000)

    def report(self) -> DiskProgress:
        counters = self.counters
        return DiskProgress(
            disk=self.target,
            size_bytes=self.size_bytes,
            planned_bytes=max(counters.planned_bytes, counters.read_bytes),
            read_bytes=counters.read_bytes,
            new_bytes=counters.new_bytes,
            stored_bytes=counters.stored_bytes,
            how=self.how,
            why=self.why,
            done=counters.done,
        )

    def finished(self, stats: DiskStats) -> FinishedDisk:
        return FinishedDisk(
            disk=stats.disk,
            size_bytes=stats.virtual_bytes,
            format=self.format,
            read_bytes=stats.read_bytes,
            new_bytes=stats.new_bytes,
            stored_bytes=stats.stored_bytes,
            how=stats.how,
            why=stats.why,
            milliseconds=self.milliseconds,
        )


def watched(disks: Iterable[WrittenDisk]) -> tuple[DiskReader, ...]:
    return tuple(disk.report for disk in disks)
