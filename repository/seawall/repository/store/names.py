"""Which object names are allowed. Called by every adapter before a name reaches a disk or a network.

The set is what every real server and file system keeps apart: no dot segments, nothing to escape in a URL, no segment over what ext4 or
SeaweedFS can hold.
"""

import re

from seawall.repository.errors import StoreRefused

NAME_BYTES_MAX = 900
SEGMENT_BYTES_MAX = 200

# A segment never begins with a dot: those names are the folder store's unfinished files.
_SEGMENT = re.compile(rf"[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]{{0,{SEGMENT_BYTES_MAX - 1}}}", re.ASCII)


def is_name(name: str) -> bool:
    """Whether it may name an object."""
    return len(name) <= NAME_BYTES_MAX and all(_SEGMENT.fullmatch(segment) for segment in name.split("/"))


def check_name(name: str) -> str:
    """The name itself. Raises StoreRefused."""
    if not is_name(name):
        raise StoreRefused(
            f"{name[:80]!r} cannot name an object: use segments of A-Z a-z 0-9 . _ = + @ - divided by '/'"
        )
    return name


def check_prefix(prefix: str) -> str:
    """The prefix itself: "", a name, or the beginning of one, with or without a last "/". Raises StoreRefused."""
    if prefix and not is_name(prefix.removesuffix("/")):
        raise StoreRefused(f"{prefix[:80]!r} cannot be a prefix of object names")
    return prefix


def check_length(length: int) -> int:
    """A length or an offset in bytes. Raises StoreRefused where it is negative."""
    if length < 0:
        raise StoreRefused(f"{length} bytes: lengths and offsets are never negative")
    return length
