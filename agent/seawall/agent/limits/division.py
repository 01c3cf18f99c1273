"""A host's share divided among its workers: restores first, then max-min by what each would use. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seawall.agent.limits.traffic import Traffic

LEAST_PART = 128 * 1024
"""Bytes per second of any worker: it must end some day, and a pack (32 MiB), also to two places, must pass before the controller gives it
up for want of progress (600 s). What that is over the share is little."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the controller said. `bytes_per_second` 0: no limit. `until`: monotonic seconds; after that the floor holds."""

    bytes_per_second: int = 0
    floor_bytes_per_second: int = 0
    until: float = 0.0

    def limit(self, now: float) -> int:
        """Bytes per second of the host at this moment; 0: no limit. Who never had one has none without contact either."""
        if not self.bytes_per_second or now < self.until:
            return self.bytes_per_second
        return min(self.bytes_per_second, self.floor_bytes_per_second)


@dataclass(frozen=True, slots=True)
class Sharer:
    """A worker."""

    restore: bool
    traffic: Traffic


def divide(limit: int, workers: Mapping[str, Sharer]) -> dict[str, int]:
    """Attempt id -> bytes per second; 0: no limit. What nobody asked for is spread alike."""
    if not limit:
        return dict.fromkeys(workers, 0)
    parts: dict[str, int] = {}
    left = limit
    for restore in (True, False):
        some = {attempt_id: worker for attempt_id, worker in workers.items() if worker.restore is restore}
        parts |= dict(zip(some, _fill(left, [worker.traffic.demand for worker in some.values()]), strict=True))
        left = limit - sum(parts.values())
    spare = left // len(workers) if workers else 0
    return {attempt_id: max(part + spare, LEAST_PART) for attempt_id, part in parts.items()}


def _fill(budget: int, demands: Sequence[int]) -> list[int]:
    """Max-min: none above its demand, together min(budget, sum of demands)."""
    given = [0] * len(demands)
    order = sorted(range(len(demands)), key=lambda index: (demands[index], index))
    for position, index in enumerate(order):
        given[index] = min(demands[index], budget // (len(order) - position))
        budget -= given[index]
    return given
