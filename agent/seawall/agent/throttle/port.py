"""What a reading thread asks before it reads. The worker stacks as many as it needs: see `stacked`."""

from typing import Protocol

WHOLE_BYTES = 64 * 1024 * 1024
"""`slice_bytes` of a pace that does not mind: no read is longer."""


class Pace(Protocol):
    """When reading may go on. Thread-safe: all reading threads of a worker share one."""

    def admit(self, n_bytes: int, n_requests: int) -> None:
        """Blocks until so much may be read. `n_requests`: of at most 2 MiB each.

        Raises what stops the worker, and ReadingStopped once the point's writing ended: nobody waits for a limit any more.
        """

    @property
    def waiting_on(self) -> str:
        """What reading waits for at this moment ("guest latency: 34 ms, ceiling 20 ms"); "" when nothing holds it up."""

    @property
    def slice_bytes(self) -> int:
        """Ask for no more at once: at a low rate one long read would be a burst. A multiple of 64 KiB."""
