"""When a child that died is started again. Pure.

There is nobody else on the machine to do it, and a running backup outlives a short absence of its controller: so once both served, a death
is answered by a restart. One that comes again and again is not hidden: everything ends, with the reason.
"""

from dataclasses import dataclass

WINDOW_SECONDS = 300.0
MOST_DEATHS = 5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """The deaths of one child, in seconds of monotonic time."""

    deaths: tuple[float, ...] = ()

    def died(self, now: float) -> "Restarts":
        """With one death more; those longer ago than the window are forgotten."""
        return Restarts((*(each for each in self.deaths if now - each < WINDOW_SECONDS), now))

    @property
    def pause_seconds(self) -> float | None:
        """How long to wait before the next start: 1, 2, 4 … None: no further one."""
        if len(self.deaths) > MOST_DEATHS:
            return None
        return min(LONGEST_PAUSE_SECONDS, 2.0 ** (len(self.deaths) - 1))
