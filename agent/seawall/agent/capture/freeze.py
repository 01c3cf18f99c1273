"""Freezing the guest around the instant of a capture, by policy. The guard freezes and thaws, and never lets a freeze pass its limit."""

from types import TracebackType
from typing import Protocol, Self

from seawall.agent.errors import FreezeFailed


class Freezer(Protocol):
    """Freezes one guest and thaws it, at the latest when its time is up, whatever becomes of its caller. A capture's is GuardProcess."""

    def freeze(self) -> None:
        """Returns when the guest is frozen. Raises FreezeFailed; then it is thawed by itself, as soon as the guest answers."""

    def thaw(self) -> bool:
        """Begin to thaw; returns at once. Whether that had begun before, as time was up. Never raises."""


class GuestFreeze:
    """Context manager. `frozen` says afterwards whether the guest was frozen all the time inside.

    Nothing is logged inside: whoever reads our log may not read, and the guest stands still meanwhile.
    """

    def __init__(self, freezer: Freezer, policy: str, limit_seconds: float) -> None:
        """`policy`: "never", "try" (a failure is a warning) or "require" (a failure is FreezeFailed)."""
        self._freezer, self._policy, self._limit_seconds = freezer, policy, limit_seconds
        self.frozen = False
        self.warning: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        if self._policy == "never":
            return self
        try:
            self._freezer.freeze()
            self.frozen = True
        except FreezeFailed as error:
            if self._policy == "require":
                raise
            self.warning = ("NOT_FROZEN", f"The point is crash-consistent. {error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.frozen and self._freezer.thaw():
            self._held_too_long(error)

    def _held_too_long(self, error: BaseException | None) -> None:
        """The instant may lie behind the thaw, so the point may not be called frozen."""
        self.frozen = False
        message = f"The snapshot took so long that the guest was thawed before: it may be frozen for {self._limit_seconds:g} seconds."
        self.warning = ("NOT_FROZEN", f"The point is crash-consistent. {message}")
        if self._policy == "require" and error is None:
            raise FreezeFailed(message)
