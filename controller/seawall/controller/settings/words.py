"""Quantities as sentences name them."""

_UNITS = (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000))
_BINARY = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def bytes_text(count: int) -> str:
    """50000000 -> "50 MB", 52428800 -> "50 MiB": in the unit that it was said in, as far as one can tell."""
    for name, unit in (*_BINARY, *_UNITS):
        if count and count % unit == 0:
            return f"{count // unit} {name}"
    for name, unit in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def seconds_text(milliseconds: int) -> str:
    """5000 -> "5 s", 1500 -> "1.5 s"."""
    return f"{milliseconds / 1000:g} s"
