"""How long a run will still take, with a band: the present rate beside the rates of the VM's last backups. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from seawall.controller.records.runs import Progress

HISTORY = 10
"""Backups that count."""
LEAST_HISTORY = 3
LONGEST_SECONDS = (1 << 32) - 1
"""What fits on the wire; nobody waits for it."""
UNKNOWN_SPREAD = 2.0
"""Without a history the end may come in half of the time, or in twice as much."""


@dataclass(frozen=True, slots=True)
class EtaBand:
    """Seconds from now. `low` <= the agent's own estimate <= `high`."""

    low: int
    high: int


def eta_band(progress: Progress, rates: Sequence[float]) -> EtaBand | None:
    """`rates`: bytes per second that earlier backups of the VM read, in any order. None: nothing is left, or nobody can say.

    The band is the nearest-rank tenth and nine tenths of the rates over what is left, widened to hold the present rate's answer.
    """
    left = sum(max(disk.planned_bytes - disk.read_bytes, 0) for disk in progress.disks if not disk.done)
    now = min(progress.eta_seconds, LONGEST_SECONDS)
    if not left or not now:
        return None
    usable = sorted(rate for rate in rates if rate >= 1)
    if len(usable) < LEAST_HISTORY:
        return EtaBand(round(now / UNKNOWN_SPREAD), min(round(now * UNKNOWN_SPREAD), LONGEST_SECONDS))
    slow, fast = usable[(len(usable) - 1) // 10], usable[-1 - (len(usable) - 1) // 10]
    return EtaBand(min(now, round(left / fast)), min(max(now, round(left / slow)), LONGEST_SECONDS))
