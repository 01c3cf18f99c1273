"""From how much the guest suffers to how fast its disks may be read. Pure but for what it remembers.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), with TCP's slow start below the rate that was too much last (RFC 5681),
steered by delay as in LEDBAT (RFC 6817): whoever transfers in the background yields to what it delays. What differs, and why:
- a rate that was too much is forgotten once the guest pauses, or was calm for a while: whatever it did then is over;
- the decrease is as deep as the ceiling was passed, and to the floor at once beyond four times: a guest that stalls must not wait for four
  halvings;
- it starts from what was really read, as a rate that nobody uses says nothing;
- it never stops altogether: at the floor a backup ends one day, and its job, which costs the guest something by itself (the first write to
  each block copies what was there), ends with it;
- where the ceiling is our own guess and the guest suffers as much with reading at the floor, reading is not what it suffers from: what it
  takes then counts as normal, for a while.
"""

import math
from dataclasses import dataclass

MIB = 1024 * 1024
START_BYTES_PER_SECOND = 16.0 * MIB
"""What is too much shows after half a second: at a start like this that is little of a backup."""
ALONE_BYTES_PER_SECOND = 256.0 * MIB
"""The start where the guest was seen to do nothing."""
FLOOR_BYTES_PER_SECOND = 4.0 * MIB
FASTEST_BYTES_PER_SECOND = 16_384.0 * MIB
"""Beyond it nothing is limited."""
CALM = 0.9
"""Below it the rate grows; between it and 1.0 it stays."""
SEVERE = 4.0
DEEPEST = 0.1
KNEE = 0.8
"""The part of a rate that was too much up to which the next rise is fast."""
DOUBLING_SECONDS = 0.5
KNEE_SECONDS = 12.0
"""A rate that was too much is remembered for so long after the last time that the guest was not calm: it works as it did."""
PAUSE_SECONDS = 2.0
"""And for so long once it does nothing: nobody is left who could suffer."""
STEP_PER_SECOND = 0.1
"""Of the knee: above it the rate grows by so much each second."""
USED = 0.5
"""A rate grows only where at least so much of it is used."""
SETTLE_SECONDS = 0.5
"""After a decrease: until the latency of before has left the window."""
BLAME_SECONDS = 2.0
"""So long at the floor, and the guest suffers all the same."""
MARGIN = 1.25
FORGET_SECONDS = 60.0
"""What was called normal loses a half of it in this time."""
BLIND_SECONDS = 2.0
BLIND_BYTES_PER_SECOND = 8.0 * MIB


@dataclass(slots=True)
class RateControl:
    """`forgiving`: the ceiling is our guess. Time is monotonic seconds; pressure is latency / ceiling, 0.0 where the guest did nothing."""

    forgiving: bool
    rate: float = START_BYTES_PER_SECOND
    normal: float = 1.0  # the pressure that is not ours
    _knee: float = math.inf
    _seen_seconds: float | None = None
    _lowered_seconds: float = -math.inf
    _uneasy_seconds: float = -math.inf
    _worked_seconds: float = -math.inf
    _floor_seconds: float | None = None
    _least: float = math.inf  # pressure, while at the floor

    def see(self, pressure: float, used: float, now_seconds: float) -> None:
        """A look at the guest. `used`: bytes a second that were read since the last one."""
        elapsed = 0.0 if self._seen_seconds is None else min(max(now_seconds - self._seen_seconds, 0.0), 1.0)
        self._seen_seconds = now_seconds
        self._forget(elapsed)
        self._blame(pressure, now_seconds)
        weighed = pressure / self.normal
        self._remember(weighed, now_seconds)
        if weighed > 1.0:
            self._lower(weighed, used, now_seconds)
        elif weighed <= CALM and used >= USED * self.rate:
            self._raise(elapsed)

    def miss(self, now_seconds: float) -> None:
        """The guest could not be looked at. It is not known to be well, so after a while reading is careful."""
        if self._seen_seconds is None:
            self._seen_seconds = now_seconds
        elif now_seconds - self._seen_seconds > BLIND_SECONDS:
            self.rate = min(self.rate, BLIND_BYTES_PER_SECOND)

    def _remember(self, weighed: float, now: float) -> None:
        """When the guest was not calm, when it worked; what is long enough ago for either is forgotten."""
        if weighed > 0.0:
            self._worked_seconds = now
        if weighed > CALM:
            self._uneasy_seconds = now
        elif now - self._uneasy_seconds > KNEE_SECONDS or now - self._worked_seconds > PAUSE_SECONDS:
            self._knee = math.inf

    def _lower(self, weighed: float, used: float, now: float) -> None:
        severe = weighed >= SEVERE
        if now - self._lowered_seconds < SETTLE_SECONDS and not severe:
            return
        self._lowered_seconds = now
        base = min(self.rate, max(used, FLOOR_BYTES_PER_SECOND))
        self._knee = max(KNEE * base, FLOOR_BYTES_PER_SECOND)
        factor = 0.0 if severe else max(KNEE / weighed, DEEPEST)
        self.rate = max(base * factor, FLOOR_BYTES_PER_SECOND)

    def _raise(self, elapsed: float) -> None:
        doubled = self.rate * 2 ** (elapsed / DOUBLING_SECONDS)
        if doubled > self._knee:
            doubled = max(min(doubled, self._knee), self.rate + self._knee * STEP_PER_SECOND * elapsed)
        self.rate = min(doubled, FASTEST_BYTES_PER_SECOND)

    def _blame(self, pressure: float, now: float) -> None:
        """Whether reading is what the guest suffers from."""
        if self.rate > FLOOR_BYTES_PER_SECOND or pressure <= self.normal:
            self._floor_seconds, self._least = None, math.inf
            return
        if self._floor_seconds is None:
            self._floor_seconds = now
        if now - self._floor_seconds < SETTLE_SECONDS:
            return
        self._least = min(self._least, pressure)
        if self.forgiving and now - self._floor_seconds >= BLAME_SECONDS:
            self.normal = max(self.normal, MARGIN * self._least)
            self._knee = math.inf
            self._floor_seconds, self._least = None, math.inf

    def _forget(self, elapsed: float) -> None:
        self.normal = max(1.0, 1.0 + (self.normal - 1.0) * 0.5 ** (elapsed / FORGET_SECONDS))
