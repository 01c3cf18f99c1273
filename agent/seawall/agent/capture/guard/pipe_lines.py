"""Lines from a pipe, each waited for no longer than asked. Both sides of a guard read with it."""

import os
import select


class PipeLines:
    """One reader at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def line(self, milliseconds: int) -> bytes | None:
        """The next line; b"" when the other side is gone; None when none came in time."""
        while b"\n" not in self._rest:
            if not self._poll.poll(milliseconds):
                return None
            block = os.read(self._descriptor, 65_536)
            if not block:
                return b""
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"
