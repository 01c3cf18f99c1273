"""How long a guest was frozen for a capture, and whose time that was."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrozenTime:
    """Milliseconds, from before the freeze was sent until the guest said that it thawed: more than it stood, by its own hooks at least."""

    total_ms: int = 0
    freezing_ms: int = 0  # until the guest said that it was frozen
    thawing_ms: int = 0  # from when it was asked to thaw

    @property
    def snapshot_ms(self) -> int:
        """What was ours and the hypervisor's."""
        return max(self.total_ms - self.freezing_ms - self.thawing_ms, 0)

    @property
    def logged(self) -> dict[str, int]:
        return {
            "frozen_ms": self.total_ms,
            "freezing_ms": self.freezing_ms,
            "snapshot_ms": self.snapshot_ms,
            "thawing_ms": self.thawing_ms,
        }

    @property
    def sentence(self) -> str:
        """For the operator; "" where it was not frozen."""
        if not self.total_ms:
            return ""
        parts = f"{self.freezing_ms} ms to freeze, {self.snapshot_ms} ms for the snapshot, {self.thawing_ms} ms to thaw"
        return f"The guest was frozen for {self.total_ms} ms: {parts}."
