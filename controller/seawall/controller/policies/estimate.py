"""How long one firing of a policy probably takes, from its first start to its last end, if nothing else runs meanwhile. Pure.

A bound from below that placement comes near where backups are many and short: nobody is done before its own start and duration, and places
share out what is to be done. Storages, groups, what prepares and bandwidth are left out.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from seawall.controller.admission.caps import Caps, reserved
from seawall.controller.records.limits import Measure, ScopeKey


@dataclass(frozen=True, slots=True)
class Load:
    """One VM's backup. `start_seconds`: its place in the spread, after the first start. `scopes`: what it takes a place of."""

    start_seconds: int
    seconds: int
    scopes: tuple[ScopeKey, ...]


def estimated_seconds(loads: Iterable[Load], caps: Caps) -> int:
    """0 where there are none. Each scope's sum goes over its places, less those that are kept for restores."""
    sums: Counter[ScopeKey] = Counter()
    last_end = 0
    for load in loads:
        last_end = max(last_end, load.start_seconds + load.seconds)
        sums.update(dict.fromkeys(load.scopes, load.seconds))
    shared = (-(-total // places) for where, total in sums.items() if (places := _places(caps, where)))
    return max(last_end, *shared, 0)


def _places(caps: Caps, where: ScopeKey) -> int:
    """For backups; 0: not limited."""
    cap = caps.value(where, Measure.TRANSFERRING)
    return 0 if cap is None else max(1, cap - reserved(where.scope, cap))
