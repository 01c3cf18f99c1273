"""A worker's stop flag: set by an order, a signal or a dead supervisor; seen at every pause and every check."""

import threading

from seawall.agent.errors import AgentError, Canceled, Fenced
from seawall.agent.worker.pipe import StopReason
from seawall.repository.clock import Clock


class AgentStopping(AgentError):
    """The agent on this host stops or restarts; the run goes on in another attempt."""

    reason = "AGENT_STOPPING"
    next_step = "Nothing: it is tried again once the agent runs."


_ERRORS: dict[StopReason, AgentError] = {
    StopReason.CANCELED: Canceled("canceled by the operator"),
    StopReason.FENCED: Fenced("the controller gave this attempt up"),
    StopReason.AGENT: AgentStopping("the agent on this host is stopping"),
}


class StopFlag:
    """Thread-safe. The first reason wins."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._reason: StopReason | None = None

    def request(self, reason: StopReason) -> None:
        with self._lock:
            self._reason = self._reason or reason
        self._event.set()

    @property
    def reason(self) -> StopReason | None:
        return self._reason

    def check(self) -> None:
        """Raises Canceled, Fenced or AgentStopping once a stop was asked for."""
        if self._reason is not None:
            error = _ERRORS[self._reason]
            raise type(error)(str(error))

    def pause(self, seconds: float) -> None:
        """Sleep, cut short by a stop, which it then raises."""
        self._event.wait(seconds)
        self.check()

    def wait(self, seconds: float) -> bool:
        """Sleep without raising; True when a stop was asked for."""
        return self._event.wait(seconds)


class StoppableClock:
    """A Clock whose sleep ends with a stop, and raises it: pauses between tries of a store that is away must not delay a cancel."""

    def __init__(self, inner: Clock, stop: StopFlag) -> None:
        self._inner = inner
        self._stop = stop

    def now_us(self) -> int:
        return self._inner.now_us()

    def monotonic_seconds(self) -> float:
        return self._inner.monotonic_seconds()

    def sleep_seconds(self, seconds: float) -> None:
        """Raises Canceled, Fenced or AgentStopping."""
        self._stop.pause(seconds)
