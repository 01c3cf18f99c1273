"""The retry decorator of a worker's calls: full jitter, a window counted from the first failure, ended at once by a stop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random, wait_random_exponential

from seawall.agent.control.errors import ControllerSilent, LeaderElsewhere, SessionUnknown
from seawall.agent.errors import ControllerUnreachable
from seawall.repository.clock import Clock
from seawall.repository.store.pace import Waits

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to go on asking. `pause` sleeps that many seconds and may raise (Canceled) to end the retrying.

    `waits` is told which calls are being repeated.
    """

    clock: Clock
    pause: Callable[[float], None]
    window_seconds: float = 900.0
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 5.0
    waits: Waits | None = None

    def __call__(
        self,
        call: Callable[[], T],
        window_seconds: float | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> T:
        """The call's answer. Raises ControllerUnreachable once it failed for the whole window, other errors at once.

        A session that the controller does not know is waited for too: the supervisor is saying Hello meanwhile.
        """
        retrying = Retrying(
            sleep=pause or self.pause,
            stop=_Window(self.clock, self.window_seconds if window_seconds is None else window_seconds),
            wait=self._wait,
            retry=retry_if_exception_type((ControllerSilent, SessionUnknown)),
            before_sleep=self._note,
            reraise=True,
        )
        try:
            return retrying(call)
        except (ControllerSilent, SessionUnknown) as error:
            raise ControllerUnreachable(f"gave up after many tries: {error}") from error
        finally:
            if self.waits is not None:
                self.waits.over()

    def _wait(self, state: RetryCallState) -> float:
        """Seconds. An election is over in a few: whoever waits for a leader asks often, and at once when it was just told who it is."""
        if state.outcome is not None and isinstance(state.outcome.exception(), LeaderElsewhere):
            least = 0.0 if state.attempt_number == 1 else self.first_wait_seconds
            return wait_random(least, least + self.first_wait_seconds)(state)
        return wait_random_exponential(multiplier=self.first_wait_seconds, max=self.longest_wait_seconds)(state)

    def _note(self, state: RetryCallState) -> None:
        if self.waits is not None and state.outcome is not None:
            self.waits.failed(str(state.outcome.exception()))


class _Window:
    """A stop condition that starts at the first failure, not at the first call: a slow call does not use it up."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends: float | None = None

    def __call__(self, state: RetryCallState) -> bool:
        now = self._clock.monotonic_seconds()
        if self._ends is None:
            self._ends = now + self._seconds
        return now >= self._ends
