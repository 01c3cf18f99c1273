"""Bounded waits that say what was awaited and, when it did not come, show the evidence."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Evidence = Callable[[], str]


class LabFailed(Exception):
    """The laboratory could not do what was asked. The message carries the ends of the logs that matter."""


def wait_for(
    what: str,
    attempt: Callable[[], T | None],
    timeout_seconds: float,
    evidence: Evidence = lambda: "",
    every_seconds: float = 0.05,
) -> T:
    """Call `attempt` until it gives something true; return that. Raises LabFailed with `what` and the evidence."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = attempt()
        if found:
            return found
        if time.monotonic() > deadline:
            raise LabFailed(f"waited {timeout_seconds:.0f} s in vain for {what}\n{evidence()}".rstrip())
        time.sleep(every_seconds)
