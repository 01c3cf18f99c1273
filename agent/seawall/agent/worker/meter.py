"""How fast an attempt goes, and how long it will take: from two counters and a clock. Pure but for what it remembers."""

from dataclasses import dataclass

SMOOTHING_SECONDS = 10.0


@dataclass(slots=True)
class Meter:
    """An exponentially smoothed rate. Feed it total bytes so far."""

    last_bytes: int = 0
    last_seconds: float | None = None
    rate: float = 0.0

    def feed(self, total_bytes: int, now_seconds: float) -> None:
        if self.last_seconds is None:
            self.last_bytes, self.last_seconds = total_bytes, now_seconds
            return
        elapsed = now_seconds - self.last_seconds
        if elapsed <= 0:
            return
        present = max(total_bytes - self.last_bytes, 0) / elapsed
        weight = 1.0 if self.rate == 0.0 else min(elapsed / SMOOTHING_SECONDS, 1.0)
        self.rate += (present - self.rate) * weight
        self.last_bytes, self.last_seconds = total_bytes, now_seconds

    def eta_seconds(self, remaining_bytes: int) -> int:
        """0 when nothing is left or nothing can be said."""
        return int(remaining_bytes / self.rate) + 1 if self.rate >= 1 and remaining_bytes > 0 else 0
