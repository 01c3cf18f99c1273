"""How long the guest's disk requests take: the difference quotient of what the hypervisor counts. Pure but for what it remembers.

libvirt counts, per disk, finished requests and the time that they took (reads, writes and flushes of the guest, not ours). Two looks tell
the mean of what finished in between. A request that has not finished is in no count: a guest that finished many a second and finishes none
any more is waiting, so that silence counts as latency for a while.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_SECONDS = 0.4
"""Two looks: one slow request alone does not decide, and a change is seen within a second."""
SILENCE_REQUESTS = 5.0
"""So many requests should have finished meanwhile, at the rate of before; that none does by chance happens once in 150 times."""
SILENCE_SECONDS = 3.0
"""A guest that is silent for longer has nothing to do."""
PAUSES = 1.5
"""And longer by so much than the pauses of late in which nobody waited: many guests write a handful every few seconds."""
FADING = 0.9
"""What is left of such a pause with each look at a guest that works."""
RATE_SECONDS = 3.0
"""Over which the usual number of requests is averaged."""


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """Of one disk since the VM started: requests of the guest that finished, and the sum of the times they took."""

    requests: int
    nanoseconds: int


Look = Mapping[str, BlockCounts]
"""Target -> counts."""


@dataclass(slots=True)
class _Disk:
    looks: deque[tuple[float, BlockCounts]] = field(default_factory=deque)
    per_second: float = 0.0
    finished_seconds: float = 0.0
    idle_seconds: float = 0.0  # the longest pause of late that was no waiting


class GuestLatency:
    """Milliseconds per request of each disk, of late. Time is monotonic seconds."""

    def __init__(self) -> None:
        self._disks: dict[str, _Disk] = {}

    def feed(self, look: Look, now_seconds: float) -> dict[str, float]:
        """The mean of each disk that was used lately. A disk whose counts fell (its VM restarted) begins anew."""
        self._disks = {target: self._disks.get(target, _Disk()) for target in look}
        found = {target: self._quotient(self._disks[target], look[target], now_seconds) for target in look}
        return {target: latency for target, latency in found.items() if latency is not None}

    def _quotient(self, disk: _Disk, counts: BlockCounts, now: float) -> float | None:
        if disk.looks and counts.requests < disk.looks[-1][1].requests:
            disk.looks.clear()
            disk.per_second = 0.0
        if disk.looks:
            self._average(disk, counts, now)
        disk.looks.append((now, counts))
        while len(disk.looks) > 2 and now - disk.looks[1][0] >= WINDOW_SECONDS:
            disk.looks.popleft()
        first_seconds, first = disk.looks[0]
        requests = counts.requests - first.requests
        if requests > 0:
            return (counts.nanoseconds - first.nanoseconds) / requests / 1e6
        silent = now - max(disk.finished_seconds, first_seconds - RATE_SECONDS)
        usual = disk.per_second * silent < SILENCE_REQUESTS or silent <= PAUSES * disk.idle_seconds
        return None if usual or not disk.finished_seconds or silent >= SILENCE_SECONDS else silent * 1000

    def _average(self, disk: _Disk, counts: BlockCounts, now: float) -> None:
        """The rate, pauses included; a silence counts once it is over. Who waited through it finished a request that took as long."""
        before_seconds, before = disk.looks[-1]
        elapsed = now - (disk.finished_seconds or before_seconds)
        if elapsed <= 0 or counts.requests == before.requests:
            return
        present = (counts.requests - before.requests) / elapsed
        disk.per_second += (present - disk.per_second) * min(elapsed / RATE_SECONDS, 1.0)
        disk.finished_seconds = now
        waited = (counts.nanoseconds - before.nanoseconds) / 1e9
        disk.idle_seconds = max(elapsed if waited < elapsed / 2 else 0.0, disk.idle_seconds * FADING)
