"""The machine's clock with another wall time: what a host knows whose battery is empty or whose time server lies."""

from seawall.repository.clock import SystemClock

YEAR_SECONDS = 365 * 86_400


class ShiftedClock(SystemClock):
    """Wall time is `seconds` off; monotonic time is not. May be changed while it is used: then it jumps."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now_us(self) -> int:
        return super().now_us() + self.seconds * 1_000_000
