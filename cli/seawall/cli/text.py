"""Numbers and times as people read them."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from seawall.cli.numbers import whole_number

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MOST_HOURS = 1000 * 365 * 24
_BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def size(count: float) -> str:
    """12345678 -> "11.8 MiB"."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def parse_size(text: str) -> int:
    """ "64KiB", "64K", "65536" -> 65536; at least 1 and below 2^32. Raises ValueError."""
    stripped = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = stripped[-1:] if stripped[-1:] in ("K", "M", "G") else ""
    size_bytes = whole_number(stripped.removesuffix(unit).rstrip()) * _BINARY[unit]
    if not 0 < size_bytes < 2**32:
        raise ValueError(text)
    return size_bytes


def duration(seconds: float) -> str:
    """75.2 -> "1:15"; under a minute "12.3 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def parse_duration(text: str) -> timedelta:
    """ "90s", "30m", "12h", "1d". Raises ValueError."""
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}.get(text[-1:])
    if unit is None:
        raise ValueError(text)
    try:
        return timedelta(**{unit: float(text[:-1])})
    except OverflowError as error:
        raise ValueError(text) from error


_PERIOD = re.compile(r"(?:[1-9][0-9]{0,5}[hdwy])+")
_PERIOD_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


def parse_period(text: str) -> timedelta:
    """ "12h", "30d", "6w", "1y" (365 days), or several: "1y6w". Raises ValueError."""
    if not _PERIOD.fullmatch(text):
        raise ValueError(text)
    parts = re.findall(r"([0-9]+)([hdwy])", text)
    hours = sum(int(number) * _PERIOD_HOURS[unit] for number, unit in parts)
    if hours > _MOST_HOURS:
        raise ValueError(text)
    return timedelta(hours=hours)


def local(when: Timestamp) -> str:
    """A server's time in the reader's zone, to the second."""
    return when.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(when: Timestamp, now: datetime) -> str:
    """ "just now", "5 min ago", "3 h ago", "12 days ago"."""
    seconds = (now - when.ToDatetime(tzinfo=UTC)).total_seconds()
    return "just now" if seconds < 60 else f"{age_text(seconds)} ago"


def age_text(seconds: float) -> str:
    """ "5 min", "3 h", "12 days"."""
    if seconds < 3600:
        return f"{max(seconds, 0) // 60:.0f} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86_400:.0f} days"


def iso_time(microseconds: int) -> str | None:
    """Microseconds since 1970 -> "2026-11-22T12:00:00Z"; 0 is never."""
    if not microseconds:
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def sentences(*parts: str) -> str:
    """One text of several: each ends with a mark."""
    told = [part.strip() for part in parts if part.strip()]
    return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in told)


def between(start: Timestamp, end: Timestamp) -> str:
    """How long something took."""
    return duration((end.ToDatetime() - start.ToDatetime()).total_seconds())


def count(number: int, noun: str) -> str:
    """1 disk, 2 disks."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
