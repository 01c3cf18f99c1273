"""One of many things that fails, of a loop that goes on with the others: told once a try, and tried again ever more rarely."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import structlog

from seawall.controller.errors import ResourceExhausted, Unavailable
from seawall.repository.clock import Clock

LONGEST_SECONDS = 600.0

_log = structlog.get_logger()


class Setbacks:
    """After n failures in a row one waits 2^(n-1) times the first pause. Belongs to one loop."""

    def __init__(self, clock: Clock, first_seconds: float) -> None:
        self._clock = clock
        self._first_seconds = first_seconds
        self._failed: dict[Hashable, tuple[int, float]] = {}

    def waits(self, key: Hashable) -> bool:
        return key in self._failed and self._clock.monotonic_seconds() < self._failed[key][1]

    @contextmanager
    def of(self, key: Hashable, event: str, **fields: object) -> Iterator[None]:
        """Whatever it raises is logged as `event` and ends here, but for what all others would meet too: a database that is away or full,
        a lead that is lost.
        """
        try:
            yield
        except (Unavailable, ResourceExhausted):
            raise
        except Exception:
            failures, _ = self._failed.get(key, (0, 0.0))
            pause_seconds = min(self._first_seconds * 2 ** min(failures, 32), LONGEST_SECONDS)
            self._failed[key] = (failures + 1, self._clock.monotonic_seconds() + pause_seconds)
            _log.exception(event, again_in_seconds=round(pause_seconds), **fields)
        else:
            self._failed.pop(key, None)
