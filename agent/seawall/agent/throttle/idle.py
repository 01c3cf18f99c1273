"""What the guest's requests take in peace, measured before its backup begins, and the ceiling that follows. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import median

FLOOR_MS = 2.0
"""Nobody minds so much, and the timer's own noise is as large: the ceiling of a fast disk is not lower."""
TIMES_IDLE = 2.0
FEWEST_LOOKS = 2
"""Below it nothing is known of a disk: the floor holds, and what is seen while nothing is read corrects it."""


class IdleLatency:
    """Collects looks; the median of them is the idle latency, as one slow request, or the snapshot itself, must not count."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = defaultdict(list)

    def feed(self, latencies: Mapping[str, float]) -> None:
        """Milliseconds by disk, of those that were used."""
        for target, latency in latencies.items():
            self._seen[target].append(latency)

    @property
    def seen(self) -> bool:
        """Whether any disk was used."""
        return bool(self._seen)

    @property
    def known(self) -> Mapping[str, float]:
        return {target: median(seen) for target, seen in list(self._seen.items()) if len(seen) >= FEWEST_LOOKS}


class Ceiling:
    """Milliseconds per request of a disk, above which reading is held back."""

    def __init__(self, said_ms: float, idle: Mapping[str, float], times: float = TIMES_IDLE) -> None:
        """`said_ms`: an operator's, for every disk alike; 0: from what is idle."""
        self._said_ms, self._idle, self._times = said_ms, dict(idle), times

    @property
    def absolute(self) -> bool:
        """Somebody said it: it holds whatever the reason for the latency is."""
        return self._said_ms > 0

    def of(self, target: str) -> float:
        if self._said_ms > 0:
            return self._said_ms
        return max(self._times * self._idle.get(target, 0.0), FLOOR_MS * self._times / TIMES_IDLE)

    def worst(self, latencies: Mapping[str, float]) -> tuple[str, float]:
        """The disk that suffers most, and how far: 1.0 is at its ceiling. ("", 0.0) where no disk was used."""
        pressures = {target: latency / self.of(target) for target, latency in latencies.items()}
        if not pressures:
            return "", 0.0
        target = max(pressures, key=lambda one: pressures[one])
        return target, pressures[target]
