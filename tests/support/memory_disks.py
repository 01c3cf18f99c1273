"""Disks in memory, kept as the blocks that are not zero: DiskSource and DiskSink without a hypervisor.

Snapshots and huge sparse disks cost little.
"""

from collections.abc import Iterable, Sequence
from threading import Lock

from seawall.repository.disks import Extent

BLOCK = 4096
ZERO = bytes(BLOCK)


class ModelDisk:
    """A disk that is written to between points. Tracks changes since `forget_changes`, in blocks."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.blocks: dict[int, bytes] = {}
        self.dirty: set[int] = set()
        self._smallest = size_bytes
        self._before = size_bytes

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= self.size_bytes
        at = 0
        while at < len(data):
            block, inside = divmod(offset + at, BLOCK)
            part = data[at : at + BLOCK - inside]
            old = self.blocks.get(block, ZERO)
            self._set(block, old[:inside] + part + old[inside + len(part) :])
            at += len(part)

    def discard(self, first_block: int, blocks: int) -> None:
        """Zero whole blocks."""
        for block in range(first_block, min(first_block + blocks, -(-self.size_bytes // BLOCK))):
            self._set(block, ZERO)

    def resize(self, size_bytes: int) -> None:
        for block in [block for block in self.blocks if block * BLOCK >= size_bytes]:
            del self.blocks[block]
        last, inside = divmod(size_bytes, BLOCK)
        if inside and last in self.blocks:
            self._keep(last, self.blocks[last][:inside] + ZERO[inside:])
        if size_bytes > self._smallest:  # what was cut off and grew again is changed
            self.dirty |= set(range(self._smallest // BLOCK, -(-min(self._before, size_bytes) // BLOCK)))
        self._smallest = min(self._smallest, size_bytes)
        self.dirty = {block for block in self.dirty if block * BLOCK < size_bytes}
        self.size_bytes = size_bytes

    def forget_changes(self) -> None:
        self.dirty = set()
        self._smallest = self._before = self.size_bytes

    def source(self, *, zeros_known: bool = True, granularity_blocks: int = 1) -> "MemorySource":
        """This instant. `granularity_blocks`: dirty bits cover so many blocks."""
        dirty = {
            block
            for bit in {block // granularity_blocks for block in self.dirty}
            for block in range(bit * granularity_blocks, (bit + 1) * granularity_blocks)
        }
        return MemorySource(self.size_bytes, self.blocks, dirty, zeros_known=zeros_known)

    def _set(self, block: int, data: bytes) -> None:
        self.dirty.add(block)
        self._keep(block, data)

    def _keep(self, block: int, data: bytes) -> None:
        if data == ZERO:
            self.blocks.pop(block, None)
        else:
            self.blocks[block] = data


class MemorySource:
    """A DiskSource over a copy of the blocks. Counts what is read; `fail_at` raises when the byte is read."""

    def __init__(
        self, size_bytes: int, blocks: dict[int, bytes], dirty: Iterable[int], *, zeros_known: bool = True
    ) -> None:
        self._size = size_bytes
        self.blocks = dict(blocks)
        self._dirty = set(dirty)
        self._zeros_known = zeros_known
        self._lock = Lock()
        self.read_bytes = 0
        self.zero_bytes_read = 0
        self.fail_at: int | None = None

    @property
    def size_bytes(self) -> int:
        return self._size

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        """Only blocks with content or changes are looked at, so a sparse disk of terabytes is quick."""
        assert 0 <= offset < offset + length <= self._size
        first, behind = offset // BLOCK, -(-(offset + length) // BLOCK)
        marked = sorted(block for block in self.blocks.keys() | self._dirty if first <= block < behind)
        found: list[Extent] = []
        at = offset
        for block in marked:
            start, end = max(block * BLOCK, offset), min((block + 1) * BLOCK, offset + length)
            _append(found, at, start, dirty=False, zero=self._zeros_known)
            _append(found, start, end, dirty=block in self._dirty, zero=self._zeros_known and block not in self.blocks)
            at = end
        _append(found, at, offset + length, dirty=False, zero=self._zeros_known)
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        assert end <= self._size
        if self.fail_at is not None and offset <= self.fail_at < end:
            raise OSError(f"the disk cannot be read at byte {self.fail_at}")
        at = offset
        zeroes = 0
        while at < end:
            block, inside = divmod(at, BLOCK)
            data = self.blocks.get(block, ZERO)[inside : inside + end - at]
            buffer[at - offset : at - offset + len(data)] = data
            zeroes += len(data) if block not in self.blocks else 0
            at += len(data)
        with self._lock:
            self.read_bytes += len(buffer)
            self.zero_bytes_read += zeroes


def _append(found: list[Extent], start: int, end: int, *, dirty: bool, zero: bool) -> None:
    if start >= end:
        return
    if found and (found[-1].dirty, found[-1].zero) == (dirty, zero):
        start, _ = found[-1].offset, found.pop()
    found.append(Extent(start, end - start, dirty, zero))


class MemorySink:
    """A DiskSink. Checks that ranges stay inside, never overlap, and in the end cover the disk."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.blocks: dict[int, bytes] = {}
        self.zeroed: list[tuple[int, int]] = []
        self.flushed = False
        self._ranges: list[tuple[int, int]] = []
        self._lock = Lock()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        with self._lock:
            self._ranges.append((offset, offset + len(data)))
            at = 0
            while at < len(data):
                block, inside = divmod(offset + at, BLOCK)
                part = bytes(data[at : at + BLOCK - inside])
                old = self.blocks.get(block, ZERO)
                self.blocks[block] = old[:inside] + part + old[inside + len(part) :]
                at += len(part)

    def zero(self, offset: int, length: int) -> None:
        with self._lock:
            self._ranges.append((offset, offset + length))
            self.zeroed.append((offset, length))

    def flush(self) -> None:
        self.flushed = True

    def content(self) -> dict[int, bytes]:
        """Blocks that are not zero. Asserts that each byte was written or zeroed once."""
        at = 0
        for start, end in sorted(self._ranges):
            assert start == at < end, f"byte {at} is not covered once: the next range begins at {start}"
            at = end
        assert at == self.size_bytes
        return {block: data for block, data in self.blocks.items() if data != ZERO}
