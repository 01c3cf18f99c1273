"""Amounts as people type them: rates, sizes and short times. MB is a million bytes, MiB is 2^20."""

import re
from decimal import Decimal

_UNITS = {
    "": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{letter: 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
    "b": 1,
}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-z]*)", re.ASCII)
_MILLISECONDS = {"ms": 1, "s": 1000}
NONE = "none"
MOST = 1 << 60


def parse_bytes(text: str) -> int:
    """ "50MB" -> 50,000,000, "1.5GiB" -> 1,610,612,736, "none" -> 0. Raises ValueError."""
    number, unit = _split(text)
    if unit not in _UNITS:
        raise ValueError(text)
    count = int(number * _UNITS[unit])
    if not (0 < count <= MOST or text.strip().lower() == NONE):
        raise ValueError(text)
    return count


def parse_rate(text: str) -> int:
    """Bytes a second: "50MB/s" or "50MB". Raises ValueError."""
    return parse_bytes(text.strip().lower().removesuffix("/s"))


def parse_milliseconds(text: str, zero: str) -> int:
    """ "20ms", "1.5s"; `zero` is the word that means 0. Raises ValueError."""
    if text.strip().lower() == zero:
        return 0
    number, unit = _split(text)
    if unit not in _MILLISECONDS or number * _MILLISECONDS[unit] < 1:
        raise ValueError(text)
    return int(number * _MILLISECONDS[unit])


def amount_text(count: int) -> str:
    """50000000 -> "50 MB", 52428800 -> "50 MiB"."""
    for step, ending in ((1024, "iB"), (1000, "B")):
        for power, letter in reversed(list(enumerate("KMGT", 1))):
            if count and count % step**power == 0:
                return f"{count // step**power} {letter}{ending}"
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count} B"


def _split(text: str) -> tuple[Decimal, str]:
    found = _AMOUNT.fullmatch(text.strip().lower())
    if found is None:
        return Decimal(0), ""
    return Decimal(found.group(1)), found.group(2)
