"""The mark: one bit a slot for a range of packs, set where some point needs the slot. Bounded: RANGE_SLOTS bits and 32 bytes a pack.

A repository that has more slots is collected range by range, and its refmaps are read once for each.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from seawall.repository.collecting.port import PackFacts, PackStanding
from seawall.repository.errors import RefmapInvalid
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

RANGE_SLOTS = 1 << 30
"""128 MiB of bits: 64 TiB of chunks of 64 KiB."""

RANGE_PACKS = 1 << 21
"""Where packs are small: 32 bytes each."""

_PIECE_SLOTS = 1 << 20
"""So many slots of a refmap are turned into bits at a time: 24 MiB."""

LAST_ID = b"\xff" * 16


class LiveSlots:
    """Bits of the STORED packs of one range of ids, ends included."""

    def __init__(self, packs: Iterable[PackFacts], range_slots: int = RANGE_SLOTS) -> None:
        """Takes packs, in order of id, until the range is full. `last`: the greatest id that the range covers."""
        ids, slots, total = bytearray(), array("i"), 0
        self.last = LAST_ID
        self.packs = 0
        for pack in packs:
            if pack.standing is PackStanding.STORED:
                ids += pack.pack_id
                slots.append(pack.slots)
                total += pack.slots
            if total >= range_slots or len(slots) >= RANGE_PACKS:
                self.last = pack.pack_id
                break
        self._ids = np.frombuffer(bytes(ids), dtype="S16")
        self._slots = np.frombuffer(slots, dtype=np.int32)
        padded = (self._slots.astype(np.int64) + 7) & ~7  # each pack begins at a byte
        self._starts = np.concatenate(([0], np.cumsum(padded)))
        self._bits = np.zeros(int(self._starts[-1]) // 8, dtype=np.uint8)
        self.packs = len(slots)

    def add(self, refmap: Mapping[bytes, NDArray[np.uint16]], after: bytes) -> tuple[bytes, ...]:
        """Mark what a refmap names of the packs behind `after` up to `last`. Returns ids of the range that it does not know.

        Raises RefmapInvalid when a slot is named that its pack never had.
        """
        mine = [pack_id for pack_id in refmap if after < pack_id <= self.last]
        places = self._places(mine)
        unknown = tuple(pack_id for pack_id, place in zip(mine, places, strict=True) if place < 0)
        piece: list[NDArray[np.int64]] = []
        waiting = 0
        for pack_id, place in zip(mine, places.tolist(), strict=True):
            if place < 0:
                continue
            slots = refmap[pack_id]
            if int(slots[-1]) >= int(self._slots[place]):
                raise RefmapInvalid(f"names slot {int(slots[-1])} of pack {pack_id.hex()}, which has fewer")
            piece.append(slots.astype(np.int64) + self._starts[place])
            waiting += len(slots)
            if waiting >= _PIECE_SLOTS:
                self._set(np.concatenate(piece))
                piece, waiting = [], 0
        if piece:
            self._set(np.concatenate(piece))
        return unknown

    def knows(self, pack_id: bytes) -> bool:
        """Whether the pack was STORED when the range was read."""
        return int(self._places([pack_id])[0]) >= 0

    def of(self, pack_id: bytes) -> SlotSet:
        """The marked slots of a pack of the range."""
        place = int(self._places([pack_id])[0])
        if place < 0:
            return NO_SLOTS
        start, end = int(self._starts[place]) // 8, int(self._starts[place + 1]) // 8
        return SlotSet.of(np.flatnonzero(np.unpackbits(self._bits[start:end], bitorder="little")))

    def _places(self, pack_ids: list[bytes]) -> NDArray[np.int64]:
        """Position of each pack, -1 where it is not of the range."""
        wanted = np.array(pack_ids, dtype="S16")
        places = np.searchsorted(self._ids, wanted)
        found = places < len(self._ids)
        found[found] = self._ids[places[found]] == wanted[found]
        return np.where(found, places, -1).astype(np.int64)

    def _set(self, positions: NDArray[np.int64]) -> None:
        """Positions ascend within a pack; each byte is written once."""
        places = positions >> 3
        values = np.left_shift(1, positions & 7).astype(np.uint8)
        order = np.argsort(places, kind="stable") if np.any(places[1:] < places[:-1]) else slice(None)
        places, values = places[order], values[order]
        begins = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
        self._bits[places[begins]] |= np.bitwise_or.reduceat(values, begins)


def ranges(
    packs: Callable[[bytes], Iterator[PackFacts]], range_slots: int = RANGE_SLOTS
) -> Iterator[tuple[bytes, LiveSlots]]:
    """(id before the range, empty mark) of each range in turn. `packs`: those behind an id, by id."""
    after = b""
    while True:
        live = LiveSlots(packs(after), range_slots)
        yield after, live
        if live.last == LAST_ID:
            return
        after = live.last
