"""A disk at one instant, read through QEMU's NBD server: the DiskSource of a backup."""

import threading
from collections.abc import Sequence
from pathlib import Path

from seawall.agent.disk.extents import append_joined, clip, dirty_from, last_clean_end, merge
from seawall.agent.disk.nbd import ALLOCATION, STATUS_BYTES, NbdConnection, NbdPool
from seawall.agent.errors import DiskUnreadable
from seawall.repository.clock import Clock
from seawall.repository.disks import Extent

CLUSTER_BYTES = 2 * 1024 * 1024
"""The largest cluster of a qcow2 file."""


class NbdSource:
    """One export. Thread-safe through a pool of connections. All failures are DiskUnreadable."""

    def __init__(
        self,
        socket: Path,
        export: str,
        clock: Clock,
        *,
        bitmap: str | None = None,
        connections: int = 3,
        timeout_seconds: float = 60.0,
    ) -> None:
        """`bitmap`: the dirty bitmap's meta context; None = all is dirty. Raises DiskUnreadable when the export lacks it."""
        contexts = [ALLOCATION, *([bitmap] if bitmap else [])]
        self._export = export
        self._bitmap = bitmap
        self._tail_lock = threading.Lock()
        self._tail: int | None = None
        self._pool = NbdPool(lambda: NbdConnection(socket, export, contexts, clock, timeout_seconds), connections)
        missing = set(contexts) - self._pool.contexts
        if missing:
            self._pool.close()
            raise DiskUnreadable(f"QEMU's export of disk {export!r} lacks {', '.join(sorted(missing))}.")

    @property
    def size_bytes(self) -> int:
        return self._pool.size_bytes

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        """See DiskSource. The disk's end counts as dirty whatever the bitmap says: see `_tail_start`."""
        found = self._extents(offset, length)
        return dirty_from(self._tail_start(), found) if self._bitmap else found

    def _tail_start(self) -> int:
        """Where the bitmap can no longer be believed: a cluster before the end of the last clean data.

        A disk that was cut and grown again is as large as before, and its bitmap calls what was lost clean. That reads as zeroes up to the
        disk's end but for what was written since, and in the cluster where it was cut as data.
        """
        with self._tail_lock:
            if self._tail is None:
                starts = reversed(range(0, self.size_bytes, STATUS_BYTES))
                ends = (last_clean_end(self._extents(start, STATUS_BYTES)) for start in starts)
                self._tail = max(0, next((end for end in ends if end is not None), 0) - CLUSTER_BYTES)
            return self._tail

    def _extents(self, offset: int, length: int) -> list[Extent]:
        """Asks QEMU as often as it takes to cover the range."""
        end = min(offset + length, self.size_bytes)
        found: list[Extent] = []
        with self._pool.lend() as connection:
            while offset < end:
                for extent in clip(self._status(connection, offset, end - offset), end):
                    append_joined(found, extent)
                offset = found[-1].offset + found[-1].length
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset < 0 or offset + len(buffer) > self.size_bytes:
            raise DiskUnreadable(f"Disk {self._export!r} ends at {self.size_bytes}; asked for {offset}+{len(buffer)}.")
        with self._pool.lend() as connection:
            if offset % connection.minimum_bytes or len(buffer) % connection.minimum_bytes:
                self._read_unaligned(connection, offset, buffer)
            else:
                connection.read_into(offset, buffer)

    def close(self) -> None:
        """End the connections."""
        self._pool.close()

    def _status(self, connection: NbdConnection, offset: int, length: int) -> list[Extent]:
        step = connection.minimum_bytes
        start = offset - offset % step
        length = min(-(-(offset + length - start) // step) * step, self.size_bytes - start, STATUS_BYTES)
        runs = connection.block_status(start, length)
        merged = merge(start, runs.get(ALLOCATION, []), runs.get(self._bitmap, []) if self._bitmap else None)
        found = [one for one in (_from(extent, offset) for extent in merged) if one.length > 0]
        if not found:
            raise DiskUnreadable(f"QEMU said nothing about disk {self._export!r} at {offset}.")
        return found

    def _read_unaligned(self, connection: NbdConnection, offset: int, buffer: memoryview) -> None:
        """Through a larger, aligned buffer: some storage takes whole blocks only."""
        step = connection.minimum_bytes
        start = offset - offset % step
        end = min(-(-(offset + len(buffer)) // step) * step, self.size_bytes)
        aligned = memoryview(bytearray(end - start))
        connection.read_into(start, aligned)
        buffer[:] = aligned[offset - start : offset - start + len(buffer)]


def bitmap_context(target: str) -> str:
    """The meta context under which libvirt's backup job exports a disk's bitmap."""
    return f"qemu:dirty-bitmap:backup-{target}"


def _from(extent: Extent, offset: int) -> Extent:
    """What of it lies at or after `offset`."""
    cut = max(0, offset - extent.offset)
    return Extent(extent.offset + cut, extent.length - cut, extent.dirty, extent.zero)
