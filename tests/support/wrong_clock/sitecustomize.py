"""First on the PYTHONPATH of a process, and so of its children: their machine is SEAWALL_WRONG_SECONDS ahead; steady time is right."""

import os

from seawall.repository.clock import SystemClock

_right = SystemClock.now_us
_WRONG_US = int(os.environ["SEAWALL_WRONG_SECONDS"]) * 1_000_000


def _now_us(clock: SystemClock) -> int:
    return _right(clock) + _WRONG_US


setattr(SystemClock, "now_us", _now_us)  # noqa: B010  # an assignment would be one to a method, of other names
