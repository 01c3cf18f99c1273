"""Two ways of doing one thing, in turn, so that a machine that others use slows both alike. Ratios are of neighbours, then medians."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Spent:
    """Seconds of one attempt. `cpu_seconds`: all threads, and the processes that were waited for."""

    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Pair:
    """Two attempts side by side."""

    ours: Spent
    theirs: Spent


def spent(action: Callable[[], object]) -> Spent:
    """What an action inside this process took."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(ours: Callable[[], Spent], theirs: Callable[[], Spent], rounds: int) -> list[Pair]:
    """One after the other, who begins changing from round to round."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second = theirs()
            pairs.append(Pair(ours(), second))
        else:
            first = ours()
            pairs.append(Pair(first, theirs()))
    return pairs


def speedup(pairs: Sequence[Pair]) -> tuple[float, float]:
    """How many times faster ours is: (wall, CPU), medians of the pairs' ratios."""
    return (
        median(pair.theirs.wall_seconds / pair.ours.wall_seconds for pair in pairs),
        median(pair.theirs.cpu_seconds / pair.ours.cpu_seconds for pair in pairs),
    )


def plain(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """For the report: every attempt, in the order in which they were made."""
    return [
        {
            "wall_seconds": [round(pair.ours.wall_seconds, 3), round(pair.theirs.wall_seconds, 3)],
            "cpu_seconds": [round(pair.ours.cpu_seconds, 3), round(pair.theirs.cpu_seconds, 3)],
        }
        for pair in pairs
    ]
