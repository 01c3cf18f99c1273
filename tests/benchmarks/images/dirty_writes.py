"""The difference between two images, written through a running QEMU so that its bitmap knows of it. The VM stays paused."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.waiting import LabFailed
from numpy.typing import NDArray

from seawall.repository.blocks import data_ranges

GRANULARITY = 65_536
"""Of the bitmaps that libvirt makes in images with clusters of this size."""
_BLOCK = 4096
_WINDOW = 16 << 20
_LONGEST = 16 << 20
_ORDERS_AT_ONCE = 400
"""As many as fit into one argument of a command."""
_DEVICE = "/machine/peripheral/virtio-disk0/virtio-backend"


@dataclass(frozen=True)
class Write:
    """`length` bytes that differ at `offset`; multiples of 4096."""

    offset: int
    length: int


@dataclass(frozen=True)
class Dirty:
    """What a bitmap must call dirty after some writes."""

    bytes: int
    extents: int


def differences(before: Path, after: Path) -> list[Write]:
    """Where two images of equal size differ."""
    with open(before, "rb", buffering=0) as old, open(after, "rb", buffering=0) as new:
        windows = sorted({at // _WINDOW for file in (old, new) for at in _touched(file.fileno())})
        return list(_joined(write for window in windows for write in _different_blocks(old, new, window)))


def dirty_of(writes: Iterable[Write]) -> Dirty:
    """In whole pieces of the bitmap's granularity; neighbouring pieces are one extent."""
    pieces = sorted({piece for write in writes for piece in _pieces(write)})
    extents = sum(1 for place, piece in enumerate(pieces) if place == 0 or pieces[place - 1] != piece - 1)
    return Dirty(len(pieces) * GRANULARITY, extents)


def write_through_qemu(hypervisor: HypervisorHost, vm: str, source: Path, writes: list[Write], folder: Path) -> None:
    """Content from `source` at the same places. `folder` must be empty; its files are removed. Raises LabFailed."""
    for first in range(0, len(writes), _ORDERS_AT_ONCE):
        batch = writes[first : first + _ORDERS_AT_ONCE]
        orders = []
        for number, (write, content) in enumerate(zip(batch, _content(source, batch), strict=True)):
            piece = folder / str(number)
            piece.write_bytes(content)
            order = f'qemu-io -d {_DEVICE} "write -q -s {piece} {write.offset} {write.length}"'
            orders.append(f"qemu-monitor-command --hmp {vm} '{order}'")
        said = hypervisor.virsh("; ".join(orders))
        for path in folder.iterdir():
            path.unlink()
        if said:
            raise LabFailed(f"QEMU did not take the writes: {said[:500]}")


def _pieces(write: Write) -> range:
    return range(write.offset // GRANULARITY, -(-(write.offset + write.length) // GRANULARITY))


def _content(image: Path, writes: Iterable[Write]) -> Iterator[bytes]:
    with open(image, "rb", buffering=0) as file:
        for write in writes:
            file.seek(write.offset)
            yield file.read(write.length)


def _touched(descriptor: int) -> Iterator[int]:
    """An offset in each window that holds data."""
    for offset, length in data_ranges(descriptor, 0, os.fstat(descriptor).st_size):
        yield from range(offset, offset + length, _WINDOW)
        yield offset + length - 1


def _different_blocks(old: BinaryIO, new: BinaryIO, window: int) -> Iterator[Write]:
    old_blocks, new_blocks = (_blocks(file, window) for file in (old, new))
    for block in np.flatnonzero((old_blocks != new_blocks).any(axis=1)).tolist():
        yield Write(window * _WINDOW + block * _BLOCK, _BLOCK)


def _blocks(file: BinaryIO, window: int) -> NDArray[np.uint64]:
    file.seek(window * _WINDOW)
    return np.frombuffer(file.read(_WINDOW), dtype=np.uint64).reshape(-1, _BLOCK // 8)


def _joined(writes: Iterable[Write]) -> Iterator[Write]:
    """Neighbours as one, up to a length that one order may have."""
    current: Write | None = None
    for write in writes:
        if current and current.offset + current.length == write.offset and current.length < _LONGEST:
            current = Write(current.offset, current.length + write.length)
            continue
        if current:
            yield current
        current = write
    if current:
        yield current
