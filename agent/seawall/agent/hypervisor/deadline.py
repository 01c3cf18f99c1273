"""Calls with a deadline: a libvirt call may hang for ever when the daemon does, and no caller of ours may hang with it.

Each call runs in a daemon thread of its own, so that a hung one neither blocks the next nor the exit of the process.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from seawall.agent.errors import HypervisorError

T = TypeVar("T")

MAX_HUNG_CALLS = 16


class _Outcome(Generic[T]):
    """What the thread leaves behind: a value or an error, and the sign that it is there."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: T | None = None
        self.error: BaseException | None = None


class DeadlineRunner:
    """Runs functions in threads and gives up waiting after a while. Thread-safe."""

    def __init__(self, max_hung_calls: int = MAX_HUNG_CALLS) -> None:
        self._places = threading.BoundedSemaphore(max_hung_calls)

    def run(self, what: str, function: Callable[[], T], timeout_seconds: float) -> T:
        """The function's result or error. Raises HypervisorError (HYPERVISOR_TIMEOUT) when it takes longer; it goes on in its thread."""
        if not self._places.acquire(timeout=timeout_seconds):
            raise _hung(what, timeout_seconds)
        outcome: _Outcome[T] = _Outcome()
        threading.Thread(target=self._run, args=(function, outcome), name=f"libvirt {what}", daemon=True).start()
        if not outcome.done.wait(timeout_seconds):
            raise _hung(what, timeout_seconds)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value  # type: ignore[return-value]  # T may itself include None

    def _run(self, function: Callable[[], T], outcome: _Outcome[T]) -> None:
        try:
            outcome.value = function()
        except BaseException as error:
            outcome.error = error
        finally:
            self._places.release()
            outcome.done.set()


def _hung(what: str, timeout_seconds: float) -> HypervisorError:
    return HypervisorError(
        f"libvirt did not answer {what} within {timeout_seconds:g} seconds.",
        reason="HYPERVISOR_TIMEOUT",
        next_step="See whether libvirtd (or virtqemud) on that host answers `virsh list`; restart it if not.",
    )
