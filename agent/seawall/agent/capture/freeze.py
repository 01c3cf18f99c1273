"""Freezing the guest around the instant of a capture, never for longer than the limit.

Thawed by leaving the block, by a timer thread, and, when this process dies in between, by the sweep that finds the mark. A guest that
does not answer (its agent may be busy with the freeze that we gave up on) is asked again and again for as long as the mark is there.
"""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.capture.leftovers import try_thaw
from seawall.agent.errors import AgentError, FreezeFailed
from seawall.agent.hypervisor.port import Hypervisor

logger = structlog.get_logger(__name__)

THAW_TRIES = 3
THAW_AGAIN_SECONDS = 1.0
"""Before the first repetition; doubled up to the longest."""
THAW_AGAIN_LONGEST_SECONDS = 30.0


class GuestFreeze:
    """Context manager. `frozen` says afterwards whether the guest was frozen, and never by the timer thawed, while inside."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        vm_id: str,
        policy: str,
        limit_seconds: int,
        mark: Path,
        again_seconds: float = THAW_AGAIN_SECONDS,
    ) -> None:
        """`policy`: "never", "try" (a failure is a warning) or "require" (a failure is FreezeFailed)."""
        self._hypervisor, self._vm_id, self._policy, self._mark = hypervisor, vm_id, policy, mark
        self._limit_seconds, self._again_seconds = limit_seconds, again_seconds
        self._again = threading.Thread(target=self._go_on_thawing, name="thaw", daemon=True)
        self._timer = threading.Timer(limit_seconds, self._too_long)
        self._timer.daemon = True
        self._asked = False
        self._overdue = False
        self.frozen = False
        self.warning: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        if self._policy == "never":
            return self
        self._asked = True
        self._mark.write_text(self._vm_id)
        self._timer.start()
        try:
            self._hypervisor.freeze(self._vm_id, max(1, self._limit_seconds // 2))
            self.frozen = True
        except FreezeFailed as error:
            if error.may_be_frozen:
                self._thaw()
            else:
                self._never_sent()
            if self._policy == "require":
                raise
            self.warning = ("NOT_FROZEN", f"The point is crash-consistent. {error}")
        except BaseException:
            self._thaw()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked:
            self._thaw()
        if self._overdue and self.frozen:
            self._held_too_long(error)

    def _never_sent(self) -> None:
        self._asked = False
        self._timer.cancel()
        self._mark.unlink(missing_ok=True)

    def _held_too_long(self, error: BaseException | None) -> None:
        """The instant may lie behind the timer's thaw, so the point may not be called frozen."""
        self.frozen = False
        message = f"The snapshot took longer than the {self._limit_seconds} seconds that a guest may be frozen."
        self.warning = ("NOT_FROZEN", f"The point is crash-consistent. {message}")
        if self._policy == "require" and error is None:
            raise FreezeFailed(message)

    def _too_long(self) -> None:
        self._overdue = True
        self._thaw()
        logger.warning("guest.freeze_overdue", vm_id=self._vm_id, limit_seconds=self._limit_seconds)

    def _thaw(self) -> None:
        """Thaw and remove the mark; the mark stays when the guest does not answer, and a thread goes on trying, later the sweep.

        Nothing is logged before all that is done: whoever reads our log may not read, and the guest stands still meanwhile.
        """
        self._timer.cancel()
        failures = []
        for _ in range(THAW_TRIES if self.frozen else 1):
            try:
                self._hypervisor.thaw(self._vm_id)
            except AgentError as error:
                failures.append(str(error))
                continue
            with suppress(OSError):  # then the sweep thaws once more
                self._mark.unlink(missing_ok=True)
            break
        else:
            with suppress(RuntimeError):  # the timer has started it already
                self._again.start()
        if failures:
            logger.warning("guest.thaw_failed", vm_id=self._vm_id, errors=failures)

    def _go_on_thawing(self) -> None:
        seconds, pause = self._again_seconds, threading.Event()
        while self._mark.exists():
            pause.wait(seconds)
            with suppress(AgentError):
                try_thaw(self._hypervisor, self._mark)
            seconds = min(2 * seconds, THAW_AGAIN_LONGEST_SECONDS)
