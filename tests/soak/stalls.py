"""How long a guest stood, from what it said: frozen by its agent, or writing nothing though it could. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .evidence import ConsoleLine, GuestLook, Interval

_FROZEN = re.compile(r"^SOAK-FROZEN ms=(\d+)")
_THAWED = re.compile(r"^SOAK-THAWED ms=(\d+) held=(\d+)")
_BOOTED = re.compile(r"^SOAK-READY ms=(\d+)")
_TICK = re.compile(r"^SOAK-TICK ms=(\d+) global=(\d+) errors=(\d+)")
_ERROR = re.compile(r"^SOAK-ERROR ")


@dataclass(frozen=True)
class Freeze:
    """`held_ms` by the guest's own clock, or ours where it never said that it was thawed (`thawed` False): it died, or stands still."""

    interval: Interval
    held_ms: float
    thawed: bool


def freezes(look: GuestLook) -> list[Freeze]:
    """In the order in which they began."""
    found: list[Freeze] = []
    since: float | None = None
    for line in look.lines:
        if _FROZEN.match(line.text):
            since = line.at
        elif since is not None and (thawed := _THAWED.match(line.text)):
            found.append(Freeze(Interval(since, line.at), float(thawed[2]), True))
            since = None
        elif since is not None and _BOOTED.match(line.text):
            found.append(_cut_short(look, since, line.at))
            since = None
    if since is not None:
        found.append(_cut_short(look, since, look.ended))
    return found


def _cut_short(look: GuestLook, since: float, until: float) -> Freeze:
    """It was killed while it was frozen: the freeze ended with it. Else it lasts until now."""
    killed = min((gone.began for gone in look.absent if since <= gone.began), default=until)
    return Freeze(Interval(since, min(until, killed)), (min(until, killed) - since) * 1000, killed < until)


def stalls(look: GuestLook) -> list[Interval]:
    """Times without any new write, from the first boot on."""
    found = []
    last: tuple[float, int] | None = None
    for line in look.lines:
        if last is not None and _BOOTED.match(line.text):
            found.append(Interval(last[0], line.at))
            last = None
        tick = _TICK.match(line.text)
        if tick is None:
            continue
        if last is not None and int(tick[2]) != last[1]:
            found.append(Interval(last[0], line.at))
            last = None
        if last is None:
            last = (line.at, int(tick[2]))
    return [*found, *([Interval(last[0], look.ended)] if last else [])]


def unexplained_seconds(interval: Interval, excuses: Iterable[Interval]) -> float:
    """What is left of it when everything that excuses it is taken away, wherever those overlap."""
    return interval.ended - interval.began - sum(interval.overlap(one) for one in _merged(excuses))


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    now: Interval | None = None
    for one in sorted(intervals, key=lambda each: each.began):
        if now is not None and one.began <= now.ended:
            now = Interval(now.began, max(now.ended, one.ended))
            continue
        if now is not None:
            yield now
        now = one
    if now is not None:
        yield now


def write_errors(lines: Iterable[ConsoleLine]) -> list[str]:
    """Each write that failed, as the guest said it."""
    return [line.text for line in lines if _ERROR.match(line.text)]
