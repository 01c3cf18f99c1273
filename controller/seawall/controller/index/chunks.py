"""The chunk index of one repository: answers Lookup, and knows the plain lengths that commit validation sums up.

A cache: everything in it can be read again from the packs' tables of contents and the database. What was done since the last `flush` is
lost with the process; the caller lets `reconcile` compare it with the database at the start and inserts what is missing.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from seawall.controller.errors import AlreadyExists, Unavailable
from seawall.controller.index.files import Files, Stopped
from seawall.controller.index.found import Found, found_of, locators_of
from seawall.controller.index.layout import VERIFIED
from seawall.controller.index.merge import Merge, plan_merge
from seawall.controller.index.part import Part
from seawall.controller.index.policy import next_merge
from seawall.controller.index.question import question_of
from seawall.controller.index.state import Shard, State
from seawall.controller.index.table import segment_of_pack
from seawall.repository.format.record import Locator

MERGE_ENTRIES = 131_072
"""Of the part in memory, 5 MB: then it becomes a shard. In a large index an eighth of what is on disk, up to eight times as many."""
MOST_WAITING = 4
"""Times `merge_entries` in memory, behind which inserts wait for the disk."""
MOST_SHARDS = 48
"""Behind which inserts wait for a merge of shards."""

Change = Callable[[Part, int], None]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KnownPack:
    """`withdrawn`: slots that answer no more, ascending."""

    host_id: str
    generation: int
    verified: bool
    withdrawn: NDArray[np.int64]


class ChunkIndex:
    """Thread-safe. Lookups never wait for inserts or merges."""

    def __init__(self, files: Files, shards: tuple[Shard, ...], rebuild_reason: str | None, merge_entries: int) -> None:
        self._files = files
        self._state = State(shards)
        self._merge_entries = merge_entries
        self._change = threading.Lock()  # around each replacement of the state, and each mark
        self._flushing = threading.Lock()  # one at a time
        self._merging = threading.Lock()  # one at a time
        self._journals: list[
            list[tuple[bytes, Change]]
        ] = []  # what is done to packs while merges of theirs are under way
        self._flusher: threading.Thread | None = None
        self._merger: threading.Thread | None = None
        self._closing = threading.Event()
        self.rebuild_reason = rebuild_reason
        """Why the index lacks packs that it had, or began empty. None: all files were read."""

    @classmethod
    def open(cls, directory: Path, *, merge_entries: int = MERGE_ENTRIES) -> "ChunkIndex":
        """Makes the directory. Packs of a missing or damaged file are missing; then there is a `rebuild_reason`.

        Raises OSError (no access).
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files, shards, reason = Files.open(directory)
        return cls(files, shards, reason, merge_entries)

    @property
    def entries(self) -> int:
        """Of forgotten packs and withdrawn slots too, until they are merged away."""
        return sum(part.segment.entries for part in self._state.parts())

    def known_packs(self) -> frozenset[bytes]:
        """Ids of all packs in the index."""
        return frozenset(
            pack_id
            for part in self._state.parts()
            for number, pack_id in enumerate(part.segment.pack_ids())
            if part.is_live(number)
        )

    def pack(self, pack_id: bytes) -> KnownPack | None:
        """What is known of a pack; None: nothing."""
        place = self._state.live(pack_id)
        if place is None:
            return None
        part, number = place
        pack = part.segment.packs[number]
        host_id = part.segment.hosts[int(pack["host"])]
        verified = bool(part.flags[number] & VERIFIED)
        return KnownPack(host_id, int(pack["generation"]), verified, part.withdrawn_slots(number))

    def insert_pack(
        self, pack_id: bytes, generation: int, host_id: str, table: NDArray[np.void], verified: bool = False
    ) -> None:
        """Enter a pack's table of contents (TABLE_ENTRY). A pack that is known already changes nothing but that it may be verified now.

        Raises AlreadyExists/PACK_FOREIGN (known as another host's), DataLoss/BAD_TABLE.
        """
        fresh = segment_of_pack(pack_id, generation, host_id, table, verified=verified)
        self._wait_for_room()
        with self._change:
            place = self._state.live(pack_id)
            if place is None:
                self._state = self._state.with_recent(Part(fresh))
                self._flush_if_large()
                return
            part, number = place
            if part.segment.hosts[int(part.segment.packs[number]["host"])] != host_id:
                raise AlreadyExists("PACK_FOREIGN", f"Pack {pack_id.hex()} belongs to another host.")
            if verified:
                self._apply(pack_id, Part.mark_verified)

    def replace_generation(self, pack_id: bytes, generation: int, table: NDArray[np.void]) -> None:
        """The pack has a newer generation with this table: what the older one held answers no more. Still verified if it was.

        Slots withdrawn before stay withdrawn. An unknown pack changes nothing. Raises DataLoss/BAD_TABLE.
        """
        with self._change:
            place = self._state.live(pack_id)
            known = self.pack(pack_id)
            if place is None or known is None:
                return
            fresh = Part(segment_of_pack(pack_id, generation, known.host_id, table, verified=known.verified))
            fresh.withdraw(0, known.withdrawn)
            self._state = self._state.forgetting(*place).with_recent(fresh)
            self._note(pack_id, Part.forget)
            self._flush_if_large()

    def withdraw(self, pack_id: bytes, slots: Iterable[int]) -> None:
        """These slots answer no lookup any more. Their lengths stay known. An unknown pack changes nothing, nor does a slot it lacks."""
        chosen = np.fromiter(slots, np.int64)
        with self._change:
            self._apply(pack_id, lambda part, number: part.withdraw(number, chosen))

    def forget_pack(self, pack_id: bytes) -> None:
        """As if it had never been inserted; it may be inserted anew."""
        with self._change:
            self._apply(pack_id, Part.forget)

    def mark_verified(self, pack_id: bytes) -> None:
        """From now on it answers every host. An unknown pack changes nothing."""
        with self._change:
            self._apply(pack_id, Part.mark_verified)

    def lookup(self, host_id: str, ids: Sequence[bytes]) -> dict[int, Locator]:
        """Positions in `ids` of the chunks that this host's own packs, or anyone's verified ones, hold, with where they lie.

        Ids have 16 bytes.
        """
        return locators_of(self.lookup_joined(host_id, b"".join(ids)))

    def lookup_joined(self, host_id: str, ids: bytes) -> list[Found]:
        """`lookup` of ids that are concatenated, in any order: for the wire."""
        question = question_of(ids)
        found: list[Found] = []
        for part in self._state.parts():
            if not len(question):
                break
            rows = part.find(host_id, question)
            hit = rows >= 0
            if hit.any():
                found.extend(found_of(part.segment, question.position[hit], rows[hit]))
                question = question.only(np.flatnonzero(~hit))
        return found

    def raw_lengths(self, pack_id: bytes) -> NDArray[np.uint32] | None:
        """Plain length of each chunk of a pack, by slot; 0 for a slot that it does not hold; None for an unknown pack."""
        place = self._state.live(pack_id)
        if place is None:
            return None
        part, number = place
        return part.segment.rows["raw_bytes"][part.segment.rows_of(number)].astype(np.uint32)

    def flush(self) -> None:
        """What is in memory becomes a shard, marks are saved. Durable when it returns.

        Raises Unavailable/INDEX_NOT_WRITTEN; nothing is lost then.
        """
        with self._flushing, self._files.told():
            with self._change:
                taken = self._state.recent
                merge, journal = plan_merge(taken), self._begin_journal()
                self._state = replace(self._state, leaving=taken, recent=())
            try:
                shard = self._files.write(merge) if len(merge.packs) else None
            except BaseException:
                with self._change:
                    self._end_journal(journal)
                    self._state = replace(self._state, leaving=(), recent=(*self._state.leaving, *self._state.recent))
                raise
            with self._change:
                added = self._replayed(journal, shard)
                self._state = replace(self._state, shards=(*self._state.shards, *added), leaving=())
            self._save()
        self._merge_if_many()

    def merge(self, *, everything: bool = False) -> None:
        """Merge shards until the policy is content; or all into one. Raises Unavailable/INDEX_NOT_WRITTEN; nothing is lost then."""
        with self._merging, self._files.told():
            while (chosen := self._chosen(everything)) is not None:
                self._merge_shards(*chosen)
                if everything:
                    return

    def close(self) -> None:
        """Break off a merge of shards, wait for a flush under way, then flush."""
        self._closing.set()
        for thread in (self._flusher, self._merger):
            if thread is not None:
                thread.join()
        self.flush()

    def _chosen(self, everything: bool) -> tuple[tuple[Shard, ...], Merge, list[tuple[bytes, Change]]] | None:
        with self._change:
            shards = self._state.shards
            numbers = range(len(shards)) if everything else next_merge(self._state.sizes())
            if not numbers:
                return None
            taken = shards[numbers.start : numbers.stop]
            return taken, plan_merge([shard.part for shard in taken]), self._begin_journal()

    def _merge_shards(self, taken: tuple[Shard, ...], merge: Merge, journal: list[tuple[bytes, Change]]) -> None:
        try:
            merge = self._files.ahead(taken, merge)
            shard = self._files.write(merge, self._go_on) if len(merge.packs) else None
        except BaseException:
            with self._change:
                self._end_journal(journal)
            raise
        names = {each.name for each in taken}
        with self._change:
            added = self._replayed(journal, shard)
            shards = self._state.shards
            at = next(number for number, each in enumerate(shards) if each.name in names)
            behind = tuple(each for each in shards[at:] if each.name not in names)
            self._state = replace(self._state, shards=(*shards[:at], *added, *behind))
        self._save()

    def _save(self) -> None:
        self._files.save(lambda: self._state.shards, self._change)

    def _go_on(self) -> None:
        if self._closing.is_set():
            raise Stopped

    def _apply(self, pack_id: bytes, change: Change) -> None:
        """Under the lock: to the one part that holds the pack."""
        place = self._state.live(pack_id)
        if place is not None:
            change(*place)
            self._note(pack_id, change)

    def _note(self, pack_id: bytes, change: Change) -> None:
        for journal in self._journals:
            journal.append((pack_id, change))

    def _begin_journal(self) -> list[tuple[bytes, Change]]:
        """Under the lock."""
        journal: list[tuple[bytes, Change]] = []
        self._journals.append(journal)
        return journal

    def _end_journal(self, journal: list[tuple[bytes, Change]]) -> None:
        self._journals = [
            each for each in self._journals if each is not journal
        ]  # two empty ones are equal, but not the same

    def _replayed(self, journal: list[tuple[bytes, Change]], shard: Shard | None) -> tuple[Shard, ...]:
        """Under the lock: the shard, with what was done to its packs while it was written."""
        self._end_journal(journal)
        if shard is None:
            return ()
        for pack_id, change in journal:
            number = shard.part.live(pack_id)
            if number is not None:
                change(shard.part, number)
        return (shard,)

    def _wait_for_room(self) -> None:
        """Memory and the number of shards stay bounded however fast packs come. Where the disk takes nothing, this does not wait."""
        state, flusher, merger = self._state, self._flusher, self._merger
        if flusher is not None and state.waiting_entries() > MOST_WAITING * self._merge_limit():
            flusher.join()
        if merger is not None and len(state.shards) > MOST_SHARDS:
            merger.join()

    def _flush_if_large(self) -> None:
        running = self._flusher is not None and self._flusher.is_alive()
        if not running and self._state.waiting_entries() >= self._merge_limit():
            self._flusher = threading.Thread(target=self._flush_in_background, name="chunk-index-flush", daemon=True)
            self._flusher.start()

    def _merge_limit(self) -> int:
        """So that each entry of a large index is written fewer times."""
        on_disk = sum(shard.part.segment.entries for shard in self._state.shards)
        return min(8 * self._merge_entries, max(self._merge_entries, on_disk // 8))

    def _flush_in_background(self) -> None:
        try:
            self.flush()
        except Unavailable:
            _log.exception("index.flush_failed", directory=str(self._files.directory))

    def _merge_if_many(self) -> None:
        with self._change:
            running = self._merger is not None and self._merger.is_alive()
            if not running and not self._closing.is_set() and next_merge(self._state.sizes()) is not None:
                self._merger = threading.Thread(target=self._merge_in_background, name="chunk-index-merge", daemon=True)
                self._merger.start()

    def _merge_in_background(self) -> None:
        try:
            self.merge()
        except Stopped:
            _log.debug("index.merge_stopped", directory=str(self._files.directory))
        except Unavailable:
            _log.exception("index.merge_failed", directory=str(self._files.directory))
