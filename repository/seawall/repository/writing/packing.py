"""From sealed records to stored packs, and from there to locators. Driven by the writer's one driving thread.

A chunk's locator is known only when its pack closes, because a pack is named by its bytes; until then a Placement stands for it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.pack import PackBuilder, SealedPack
from seawall.repository.format.record import Codec, Locator, Record
from seawall.repository.format.sealed_run import SealedRun
from seawall.repository.writing.crew import Crew, Lane
from seawall.repository.writing.port import WriteCoordinator

MAX_PACKS_UNDER_WAY = 2

PackName = tuple[bytes, int]
"""(pack id, generation)."""


class OpenPack:
    """A pack being filled, closed or uploaded. `pack_id` and `table` are set once it is closed and hashed; the bytes are let go once they
    are stored.
    """

    __slots__ = ("buffer", "builder", "pack_id", "sealed", "table")

    def __init__(self, builder: PackBuilder, buffer: bytearray) -> None:
        self.builder: PackBuilder | None = builder
        self.buffer = buffer
        """What the pack is built in; its owner is the PackLine."""
        self.pack_id: bytes | None = None
        self.sealed: SealedPack | None = None
        self.table: NDArray[np.void] | None = None


class Placement:
    """Where one chunk lies, or will. Resolved once: by a known locator, or by its slot in a pack."""

    __slots__ = ("_known", "_slot", "pack")

    def __init__(self, known: Locator | None = None) -> None:
        self._known = known
        self._slot = 0
        self.pack: OpenPack | None = None

    @property
    def ready(self) -> bool:
        """Whether `locator` may be called."""
        return self._known is not None or (self.pack is not None and self.pack.pack_id is not None)

    def found(self, locator: Locator) -> None:
        self._known = locator

    def placed(self, pack: OpenPack, slot: int) -> None:
        self.pack, self._slot = pack, slot

    def locator(self) -> Locator:
        known = self._known
        if known is not None:
            return known
        (pack_id, generation), offset, stored_bytes, raw_bytes, slot, codec = self._in_pack()
        return Locator(pack_id, generation, slot, offset, stored_bytes, raw_bytes, Codec(codec))

    def row(self) -> tuple[PackName, int, int, int, int, int]:
        """The locator's parts: (pack, offset, stored bytes, raw bytes, slot, codec). A Locator takes three times as long to make."""
        known = self._known
        if known is None:
            return self._in_pack()
        pack = (known.pack_id, known.generation)
        return pack, known.offset, known.stored_bytes, known.raw_bytes, known.slot, known.codec

    def _in_pack(self) -> tuple[PackName, int, int, int, int, int]:
        pack = self.pack
        if pack is None or pack.pack_id is None or pack.table is None:
            raise RuntimeError("a chunk's place was asked for before its pack was closed")
        _, offset, stored_bytes, raw_bytes, slot, codec, _, _ = pack.table[self._slot].item()
        return (pack.pack_id, 0), offset, stored_bytes, raw_bytes, slot, codec


class PackLine:
    """Fills packs one after the other and uploads each when it is full. At most `MAX_PACKS_UNDER_WAY` are being uploaded.

    The memory of a stored pack is used for a later one.
    """

    def __init__(
        self, crew: Crew, coordinator: WriteCoordinator, new_builder: Callable[[bytearray], PackBuilder]
    ) -> None:
        self._crew = crew
        self._coordinator = coordinator
        self._new_builder = new_builder
        self._open: OpenPack | None = None
        self._closing: deque[Future[None]] = deque()
        self._under_way: deque[Future[None]] = deque()
        self._spare: list[bytearray] = []
        self.stored_bytes = 0
        """Record bodies placed so far."""

    def place(self, record: Record, placement: Placement) -> None:
        pack, builder = self._opened()
        slot, _ = builder.add(record)
        placement.placed(pack, slot)
        self.stored_bytes += len(record.body)
        if builder.full:
            self.close()

    def place_run(self, run: SealedRun, placements: Sequence[Placement]) -> None:
        """`place` of each record of the run."""
        first = 0
        while first < len(run.records):
            pack, builder = self._opened()
            slots = builder.slots
            behind = first + builder.add_run(run, first)
            for slot, placement in enumerate(placements[first:behind], slots):
                placement.placed(pack, slot)
            first = behind
            if builder.full:
                self.close()
        self.stored_bytes += run.stored_bytes

    def _opened(self) -> tuple[OpenPack, PackBuilder]:
        if self._open is None:
            buffer = self._spare.pop() if self._spare else bytearray()
            self._open = OpenPack(self._new_builder(buffer), buffer)
        if self._open.builder is None:
            raise RuntimeError("an open pack has no builder")
        return self._open, self._open.builder

    def close(self) -> None:
        """Close the open pack, full or not, and upload it."""
        if self._open is None:
            return
        while len(self._under_way) >= MAX_PACKS_UNDER_WAY:
            self._crew.result(self._under_way.popleft())
        while self._closing and self._closing[0].done():
            self._closing.popleft()
        sealing = self._crew.submit(Lane.HASH, _seal, self._open)
        self._closing.append(sealing)
        self._under_way.append(self._crew.submit(Lane.UPLOAD, self._store, self._open, sealing))
        self._open = None

    def holds(self, placement: Placement) -> bool:
        """Whether the chunk lies in the open pack: its locator stays unknown until that is closed."""
        return self._open is not None and placement.pack is self._open

    def identify(self) -> None:
        """Close, and wait until every pack has its id: all placements are ready then."""
        self.close()
        while self._closing:
            self._crew.result(self._closing.popleft())

    def settle(self) -> None:
        """Close, and wait until all packs are stored."""
        self.identify()
        while self._under_way:
            self._crew.result(self._under_way.popleft())

    def _store(self, pack: OpenPack, sealing: "Future[None]") -> None:
        """Runs in an upload thread. The one job that waits for another: for a hashing one, which waits for none."""
        sealing.result()
        sealed, pack.sealed = pack.sealed, None
        if sealed is None:
            raise RuntimeError("a pack is stored once")
        self._coordinator.store_pack(sealed)
        buffer, pack.buffer = pack.buffer, bytearray()
        if isinstance(sealed.body, memoryview) and _given_back(sealed.body, buffer):
            self._spare.append(buffer)


def _given_back(view: memoryview, buffer: bytearray) -> bool:
    """Whether nobody holds a part of a stored pack any more: only then may its memory be written again."""
    try:
        view.release()
        buffer.append(0)  # refused as long as there is any view of it, one that was made from ours too
    except BufferError:
        return False
    del buffer[-1]
    return True


def _seal(pack: OpenPack) -> None:
    """Runs in a hashing thread, which owns the builder from here on."""
    builder, pack.builder = pack.builder, None
    if builder is None:
        raise RuntimeError("a pack is sealed once")
    pack.sealed = builder.seal()
    pack.table = pack.sealed.table
    pack.pack_id = pack.sealed.pack_id
