"""A disk whose read error is first asked about: where the VM was stopped or started meanwhile, that is the reason and not the disk."""

from collections.abc import Callable, Sequence

from seawall.agent.errors import DiskUnreadable
from seawall.repository.disks import DiskSource, Extent


class ExplainedSource:
    """A DiskSource over another one."""

    def __init__(self, source: DiskSource, explain: Callable[[], None]) -> None:
        """`explain` raises the reason where it knows one better than "the disk cannot be read"."""
        self._source, self._explain = source, explain

    @property
    def size_bytes(self) -> int:
        return self._source.size_bytes

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        """See DiskSource."""
        try:
            return self._source.extents(offset, length)
        except DiskUnreadable:
            self._explain()
            raise

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See DiskSource."""
        try:
            self._source.read_into(offset, buffer)
        except DiskUnreadable:
            self._explain()
            raise
