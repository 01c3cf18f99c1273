"""Newer, or altered? One flipped byte of a header says "newer" of an object that is damaged. Called by the readers of all objects that
prove their own header: where the same bytes with our version are what was signed, sealed or hashed, only the version was altered.
"""

import struct
from collections.abc import Callable
from typing import TypeVar

from seawall.repository.errors import FormatUnsupported, IntegrityError, RepositoryError
from seawall.repository.format.header import of_this_version

Parsed = TypeVar("Parsed")

_NOT_PROVEN = (RepositoryError, ValueError, struct.error)
"""What bytes that somebody else made may come to, read as ours."""


def told_apart(read: Callable[[bytes], Parsed], body: bytes, what: str) -> Parsed:
    """`read(body)`, which proves header and body together. Raises what that raises; IntegrityError instead of FormatUnsupported where
    it is damage.
    """
    try:
        return read(body)
    except FormatUnsupported as error:
        if _reads(read, of_this_version(body)):
            raise IntegrityError(f"{what}: its version was altered: all else is what this version wrote") from error
        raise


def _reads(read: Callable[[bytes], object], body: bytes) -> bool:
    try:
        read(body)
    except _NOT_PROVEN:
        return False
    return True
