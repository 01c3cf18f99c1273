"""How late the event loop runs what is due: a loop that something blocks answers nobody, and renews nothing."""

from collections import deque

from seawall.controller.vitals.troubles import Trouble

BLOCKED_SECONDS = 5.0
"""So late, and whoever asks is told that the controller is not ready."""
SHOWN_SECONDS = 60.0
"""The worst of the last minute is shown."""
REMEMBERED_SECONDS = 30.0
"""So long after it was blocked it is called so: whoever asks at its leisure shall hear of it."""


class LoopLag:
    """Belongs to the event loop that it measures. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()

    def measured(self, due: float, came: float) -> None:
        """Something that was due then came so late."""
        self._late.append((came, max(0.0, came - due)))
        while self._late[0][0] < came - SHOWN_SECONDS:
            self._late.popleft()

    @property
    def worst_seconds(self) -> float:
        """Of the last minute."""
        return max((late for _, late in self._late), default=0.0)

    def trouble(self, now: float) -> Trouble | None:
        recent = [late for came, late in self._late if came >= now - REMEMBERED_SECONDS]
        worst = max(recent, default=0.0)
        if worst < BLOCKED_SECONDS:
            return None
        return Trouble(
            "LOOP_BLOCKED",
            f"the controller did not answer anybody for {worst:.1f} s: its process stood still or was too busy. "
            "Look at the load of its machine; its log says when, under loop.blocked.",
            ready=False,
        )
