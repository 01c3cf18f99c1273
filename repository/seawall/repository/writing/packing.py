"""From sealed records to stored packs, and from there to locators. Driven by the writer's one driving thread.

A chunk's locator is known only when its pack closes, because a pack is named by its bytes; until then a Placement stands for it.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from seawall.repository.format.pack import PackBuilder, SealedPack
from seawall.repository.format.record import Codec, Locator, Record
from seawall.repository.writing.crew import Crew, Lane
from seawall.repository.writing.port import WriteCoordinator

MAX_PACKS_UNDER_WAY = 2


class OpenPack:
    """A pack being filled, closed or uploaded. `pack_id` is set once it is closed and hashed; the bytes are let go once they are stored."""

    __slots__ = ("buffer", "builder", "pack_id", "sealed")

    def __init__(self, builder: PackBuilder, buffer: bytearray) -> None:
        self.builder: PackBuilder | None = builder
        self.buffer = buffer
        """What the pack is built in; its owner is the PackLine."""
        self.pack_id: bytes | None = None
        self.sealed: SealedPack | None = None


class Placement:
    """Where one chunk lies, or will. Resolved once: by a known locator, or by its place in a pack."""

    __slots__ = ("_codec", "_known", "_offset", "_raw_bytes", "_slot", "_stored_bytes", "pack")

    def __init__(self, known: Locator | None = None) -> None:
        self._known = known
        self.pack: OpenPack | None = None
        self._slot = self._offset = self._stored_bytes = self._raw_bytes = 0
        self._codec = Codec.RAW

    @property
    def ready(self) -> bool:
        """Whether `locator` may be called."""
        return self._known is not None or (self.pack is not None and self.pack.pack_id is not None)

    def found(self, locator: Locator) -> None:
        self._known = locator

    def placed(self, pack: OpenPack, record: Record, slot: int, offset: int) -> None:
        self.pack, self._slot, self._offset = pack, slot, offset
        self._stored_bytes, self._raw_bytes, self._codec = len(record.body), record.raw_bytes, record.codec

    def locator(self) -> Locator:
        if self._known is None:
            if self.pack is None or self.pack.pack_id is None:
                raise RuntimeError("a chunk's locator was asked for before its pack was closed")
            self._known = Locator(
                self.pack.pack_id, 0, self._slot, self._offset, self._stored_bytes, self._raw_bytes, self._codec
            )
            self.pack = None
        return self._known


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
        if self._open is None:
            buffer = self._spare.pop() if self._spare else bytearray()
            self._open = OpenPack(self._new_builder(buffer), buffer)
        pack = self._open
        if pack.builder is None:
            raise RuntimeError("an open pack has no builder")
        slot, offset = pack.builder.add(record)
        placement.placed(pack, record, slot, offset)
        self.stored_bytes += len(record.body)
        if pack.builder.full:
            self.close()

    def close(self) -> None:
        """Close the open pack, full or not, and upload it."""
        if self._open is None:
            return
        while len(self._under_way) >= MAX_PACKS_UNDER_WAY:
            self._crew.result(self._under_way.popleft())
        while self._closing and self._closing[0].done():
            self._closing.popleft()
        sealing = self._crew.submit(Lane.COMPUTE, _seal, self._open)
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
        """Runs in an upload thread. The one job that waits for another: for a computing one, which waits for none."""
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
    """Runs in a computing thread, which owns the builder from here on."""
    builder, pack.builder = pack.builder, None
    if builder is None:
        raise RuntimeError("a pack is sealed once")
    pack.sealed = builder.seal()
    pack.pack_id = pack.sealed.pack_id
