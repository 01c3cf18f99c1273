"""The flow of new chunks: hash -> known? -> seal -> pack. Batches of some MiB pass each stage in order, so packs fill in disk order.

Owned by the driving thread. A batch's bytes are held until its records lie in a pack; their sum is bounded.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from seawall.repository.crypto.chunk import chunk_hash, chunk_id
from seawall.repository.format.pack import PACK_MAX_SLOTS
from seawall.repository.format.record import ChunkType, Locator, PlainChunk
from seawall.repository.format.sealed_run import SealedRun, seal_run
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.crew import Crew, Lane
from seawall.repository.writing.facts import WriteSettings
from seawall.repository.writing.packing import MAX_PACKS_UNDER_WAY, PackLine, Placement
from seawall.repository.writing.page import NewChunk
from seawall.repository.writing.parent import BadSlots
from seawall.repository.writing.port import WriteCoordinator

BATCH_BYTES = 8 * 1024 * 1024
"""A Lookup each: smaller ones cost the controller more time than all else that a backup asks of it (3 ms each, measured)."""
BATCH_CHUNKS = 4096
"""No batch has more: it is also the most ids of one Lookup."""
HELD_BYTES = 20 * 1024 * 1024
LOOK_BYTES = 1024 * 1024
"""So often the driver looks, while it cuts, whether a batch can move on."""
SEAL_BYTES = 2 * 1024 * 1024
"""Plain bytes sealed by one job."""
RECENT_CHUNKS = (MAX_PACKS_UNDER_WAY + 2) * PACK_MAX_SLOTS
"""As many as may be on their way or in packs that are not reported yet: Lookup knows none of them."""


@dataclass(slots=True)
class Candidate:
    """A chunk on its way. `old_hash`: of the chunk that the parent has at exactly this place. `chunk_id`: set by the lookup."""

    chunk: NewChunk
    data: memoryview | None
    old_hash: bytes | None
    chunk_id: bytes = b""


@dataclass(slots=True)
class Group:
    """Neighbours that are sealed by one job."""

    placements: list[Placement]
    length: int
    job: "Future[SealedRun]"


@dataclass(slots=True)
class Batch:
    counters: DiskCounters
    candidates: list[Candidate] = field(default_factory=list)
    length: int = 0
    hashing: "Future[list[bytes]] | None" = None
    unknown: list[Candidate] = field(default_factory=list)
    looking: "Future[list[Locator | None]] | None" = None
    sealing: deque[Group] = field(default_factory=deque)


class ChunkFlow:
    """One for a point: its cache of recent chunks spans all disks."""

    def __init__(
        self, crew: Crew, coordinator: WriteCoordinator, settings: WriteSettings, line: PackLine, bad: BadSlots
    ) -> None:
        self._crew = crew
        self._coordinator = coordinator
        self._settings = settings
        self._line = line
        self._bad = bad
        self._recent: OrderedDict[bytes, Placement] = OrderedDict()
        self._filling: Batch | None = None
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._look_at = LOOK_BYTES

    def add(self, chunk: NewChunk, data: memoryview, old_hash: bytes | None, counters: DiskCounters) -> None:
        """Takes one chunk; blocks while too much is under way."""
        batch = self._filling
        if batch is None:
            batch = self._filling = Batch(counters)
        batch.candidates.append(Candidate(chunk, data, old_hash))
        batch.length += len(data)
        if batch.length >= BATCH_BYTES or len(batch.candidates) == BATCH_CHUNKS:
            self.flush()
        elif batch.length >= self._look_at:
            self._look_at = batch.length + LOOK_BYTES
            self.advance()

    def flush(self) -> None:
        """Send off what was collected."""
        batch = self._filling
        if batch is None:
            return
        self._filling = None
        self._look_at = LOOK_BYTES
        batch.hashing = self._crew.submit(Lane.HASH, self._hash, [one.data for one in batch.candidates])
        self._batches.append(batch)
        self._held += batch.length
        self.advance()
        while self._held > HELD_BYTES:
            self._finish_first()

    def settle(self) -> None:
        """Returns when every chunk that was added is known or lies in a pack; the last pack may still be open."""
        self.flush()
        while self._batches:
            self._finish_first()

    def advance(self) -> None:
        """Move every batch on as far as it goes without waiting, in order: no batch overtakes another in any stage."""
        self._crew.check()
        for batch in self._batches:
            if batch.hashing is not None:
                if not batch.hashing.done():
                    break
                hashes = self._crew.result(batch.hashing)
                self._classify(batch, hashes)
        for batch in self._batches:
            if batch.hashing is not None or (batch.looking is not None and not batch.looking.done()):
                break
            self._send_to_seal(batch)
        while self._batches and self._pack_sealed(self._batches[0]):
            self._batches.popleft()

    def _finish_first(self) -> None:
        """Moves the first batch on by one step, waiting for it."""
        batch = self._batches[0]
        if batch.hashing is not None:
            self._crew.result(batch.hashing)
        elif batch.looking is not None:
            self._crew.result(batch.looking)
        elif batch.sealing:
            self._crew.result(batch.sealing[0].job)
        self.advance()

    def _hash(self, pieces: Sequence[memoryview | None]) -> list[bytes]:
        return [chunk_hash(self._settings.k_dedup, piece) for piece in pieces if piece is not None]

    def _classify(self, batch: Batch, hashes: Sequence[bytes]) -> None:
        """Parent at the same place, else a recent chunk of this point, else unknown."""
        batch.hashing = None
        for one, h in zip(batch.candidates, hashes, strict=True):
            one.chunk.h = h
            if one.old_hash == h:
                one.chunk.kept = True
                continue
            recent = self._recent.get(h)
            if recent is not None:
                self._recent.move_to_end(h)
                one.chunk.placement = recent
                continue
            one.chunk.placement = self._recent[h] = Placement()
            batch.unknown.append(one)
        while len(self._recent) > RECENT_CHUNKS:
            self._recent.popitem(last=False)
        batch.candidates = []
        if batch.unknown:
            batch.looking = self._crew.submit(Lane.LOOKUP, self._look_up, batch.unknown)
        else:
            self._held -= batch.length

    def _look_up(self, unknown: Sequence[Candidate]) -> list[Locator | None]:
        for one in unknown:
            one.chunk_id = chunk_id(one.chunk.h)
        known = self._coordinator.lookup([one.chunk_id for one in unknown])
        found = [known.get(one.chunk_id) for one in unknown]
        return [
            locator
            if locator is not None and locator.raw_bytes == one.chunk.length and locator not in self._bad
            else None
            for locator, one in zip(found, unknown, strict=True)
        ]

    def _send_to_seal(self, batch: Batch) -> None:
        if batch.looking is None:
            return
        located = self._crew.result(batch.looking)
        batch.looking = None
        missing = []
        for one, locator in zip(batch.unknown, located, strict=True):
            if locator is None:
                missing.append(one)
            elif one.chunk.placement is not None:
                one.chunk.placement.found(locator)
        batch.unknown = []
        batch.sealing.extend(map(self._start_sealing, _groups(missing, SEAL_BYTES)))
        new = sum(group.length for group in batch.sealing)
        batch.counters.add(new=new)
        self._held -= batch.length - new

    def _start_sealing(self, group: Sequence[Candidate]) -> Group:
        placements = [one.chunk.placement for one in group if one.chunk.placement is not None]
        if len(placements) < len(group):
            raise RuntimeError("a chunk is sealed before it was classified")
        length = sum(one.chunk.length for one in group)
        return Group(placements, length, self._crew.submit(Lane.COMPUTE, self._seal, group))

    def _seal(self, group: Sequence[Candidate]) -> SealedRun:
        chunks = [PlainChunk(one.chunk.h, one.chunk_id, one.data) for one in group if one.data is not None]
        for one in group:
            one.data = None
        return seal_run(self._settings.lineage_id, chunks, ChunkType.DATA, self._settings.compression_level)

    def _pack_sealed(self, batch: Batch) -> bool:
        """Puts into packs what of a batch is sealed, in order. Whether that was all of it."""
        if batch.hashing is not None or batch.looking is not None:
            return False
        while batch.sealing and batch.sealing[0].job.done():
            group = batch.sealing.popleft()
            run = self._crew.result(group.job)
            self._line.place_run(run, group.placements)
            batch.counters.add(stored=run.stored_bytes)
            self._held -= group.length
        return not batch.sealing


def _groups(candidates: Sequence[Candidate], limit: int) -> list[list[Candidate]]:
    """Neighbours together, about `limit` plain bytes a group."""
    groups: list[list[Candidate]] = []
    length = limit
    for one in candidates:
        if length >= limit:
            groups.append([])
            length = 0
        groups[-1].append(one)
        length += one.chunk.length
    return groups
