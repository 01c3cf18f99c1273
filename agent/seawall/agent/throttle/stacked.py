"""Several paces as one, and a disk that is read at a pace."""

from collections.abc import Sequence

from seawall.agent.throttle.port import WHOLE_BYTES, Pace
from seawall.repository.disks import DiskSource, Extent

REQUEST_BYTES = 2 * 1024 * 1024
"""A longer read is sent as several requests."""


class StackedPace:
    """See Pace. All of them must admit; the first that holds up is named."""

    def __init__(self, paces: Sequence[Pace]) -> None:
        self._paces = tuple(paces)

    def admit(self, n_bytes: int, n_requests: int) -> None:
        for pace in self._paces:
            pace.admit(n_bytes, n_requests)

    @property
    def waiting_on(self) -> str:
        return next((sentence for pace in self._paces if (sentence := pace.waiting_on)), "")

    @property
    def slice_bytes(self) -> int:
        return min((pace.slice_bytes for pace in self._paces), default=WHOLE_BYTES)


class PacedSource:
    """A DiskSource whose reads ask a pace first, slice by slice. What it says of extents costs the guest nothing."""

    def __init__(self, source: DiskSource, pace: Pace) -> None:
        self._source, self._pace = source, pace

    @property
    def size_bytes(self) -> int:
        return self._source.size_bytes

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return self._source.extents(offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        at = 0
        while at < len(buffer):
            length = min(self._pace.slice_bytes, len(buffer) - at)
            self._pace.admit(length, -(-length // REQUEST_BYTES))
            self._source.read_into(offset + at, buffer[at : at + length])
            at += length
