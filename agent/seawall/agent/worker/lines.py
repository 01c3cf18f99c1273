"""Lines from a file descriptor, without Python's buffered reader.

A thread that waits inside a buffered reader holds its lock, and the interpreter aborts over that at exit.
"""

import os
from collections.abc import Iterator

_BLOCK = 65_536


class LineReader:
    """One reader at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def line(self) -> bytes:
        """The next line with its end; b"" when the other side is gone. A line cut off by that is dropped."""
        while b"\n" not in self._rest:
            block = os.read(self._descriptor, _BLOCK)
            if not block:
                return b""
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.line, b"")
