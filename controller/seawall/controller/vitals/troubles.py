"""What is wrong with the controller itself, in sentences for operators; and whether it is ready all the same."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from seawall.repository.clock import datetime_of


@dataclass(frozen=True, slots=True)
class Trouble:
    """A stable reason, a sentence with what to do next. `ready`: the controller goes on in spite of it."""

    reason: str
    sentence: str
    ready: bool


class Troubles:
    """Thread-safe. At most one of each reason."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, Trouble]] = {}

    def note(self, trouble: Trouble, now_us: int) -> bool:
        """Whether it is new. One that is known keeps the time since when it is."""
        with self._lock:
            known = self._known.get(trouble.reason)
            self._known[trouble.reason] = (known[0] if known else now_us, trouble)
            return known is None

    def end(self, reason: str) -> bool:
        """Whether there was such a one."""
        with self._lock:
            return self._known.pop(reason, None) is not None

    def has(self, reason: str) -> bool:
        with self._lock:
            return reason in self._known

    @property
    def ready(self) -> bool:
        with self._lock:
            return all(trouble.ready for _, trouble in self._known.values())

    def sentences(self) -> Sequence[str]:
        """Oldest first."""
        with self._lock:
            found = sorted(self._known.values(), key=lambda each: each[0])
        return [f"since {datetime_of(since):%Y-%m-%d %H:%M:%S} UTC: {each.sentence}" for since, each in found]
