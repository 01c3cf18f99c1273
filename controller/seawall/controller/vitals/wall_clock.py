"""Whether the machine's clock jumped: leases and deadlines follow a steady time and do not care, calendars do."""

from datetime import timedelta

from seawall.controller.timings import SECOND_US
from seawall.controller.vitals.troubles import Trouble

JUMP_US = 2 * SECOND_US
"""A time server that corrects a clock does it by less between two looks."""
SHOWN_US = 3600 * SECOND_US


class WallClock:
    """Compares wall time with steady time, both in microseconds, at each look."""

    def __init__(self, ahead_us: int) -> None:
        """`ahead_us`: wall minus steady time as it is now."""
        self._ahead_us = ahead_us
        self._jumped: tuple[int, int] | None = None

    def look(self, ahead_us: int, steady_us: int) -> int:
        """By how much it jumped since the last look; 0: it did not."""
        by_us = ahead_us - self._ahead_us
        self._ahead_us = ahead_us
        if abs(by_us) < JUMP_US:
            return 0
        self._jumped = (steady_us, by_us)
        return by_us

    def trouble(self, steady_us: int) -> Trouble | None:
        """For an hour after a jump."""
        if self._jumped is None or steady_us - self._jumped[0] >= SHOWN_US:
            return None
        by_us = self._jumped[1]
        where = "ahead" if by_us > 0 else "back"
        by = timedelta(seconds=round(abs(by_us) / SECOND_US))
        return Trouble(
            "CLOCK_JUMPED",
            f"the clock of the controller's machine jumped {where} by {by}. Leases and deadlines "
            "are not touched; policies follow the new time, each nominal time once. Look at the machine's time server.",
            ready=True,
        )
