"""Sets of slots of one pack, packed tightly; part of refmaps and of inner nodes. One set has one encoding.

first u16 | last u16 | count u16 | form u8 | payload: RANGE nothing, BITMAP one bit per slot from first to last, ARRAY count × u16.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError

MAX_SLOTS = 16_384
"""Slots of a pack: 0 to MAX_SLOTS - 1."""

RANGE, BITMAP, ARRAY = 0, 1, 2
_SET = struct.Struct("<HHHB")


@dataclass(frozen=True, slots=True)
class SlotSet:
    """Some slots of one pack as a value: 7 bytes for a dense range. Empty: no bytes."""

    encoded: bytes = b""

    @classmethod
    def of(cls, slots: NDArray[np.uint16] | Iterable[int]) -> "SlotSet":
        """Raises ValueError when a slot is out of bounds."""
        array = slot_array(slots)
        return cls(encode_slot_set(array) if len(array) else b"")

    @classmethod
    def first(cls, count: int) -> "SlotSet":
        """All slots of a pack that has so many. Raises ValueError when they are more than MAX_SLOTS."""
        if count > MAX_SLOTS:
            raise ValueError(f"slots are 0 to {MAX_SLOTS - 1}")
        return cls(_SET.pack(0, count - 1, count, RANGE) if count else b"")

    @classmethod
    def parse(cls, encoded: bytes) -> "SlotSet":
        """Raises IntegrityError on anything but what `encoded` holds."""
        if encoded and decode_slot_set(encoded, 0)[1] != len(encoded):
            raise IntegrityError("bytes behind a slot set")
        return cls(encoded)

    def array(self) -> NDArray[np.uint16]:
        """Sorted, unique."""
        return decode_slot_set(self.encoded, 0)[0] if self.encoded else np.zeros(0, dtype=np.uint16)

    def __len__(self) -> int:
        return int(_SET.unpack_from(self.encoded)[2]) if self.encoded else 0

    def __iter__(self) -> Iterator[int]:
        return iter(self.array().tolist())

    def __contains__(self, slot: object) -> bool:
        return bool(np.any(self.array() == slot))

    def __or__(self, other: "SlotSet") -> "SlotSet":
        if not (self.encoded and other.encoded):
            return self if self.encoded else other
        return SlotSet.of(np.union1d(self.array(), other.array()))

    def __sub__(self, other: "SlotSet") -> "SlotSet":
        return SlotSet.of(np.setdiff1d(self.array(), other.array(), assume_unique=True)) if other.encoded else self


NO_SLOTS = SlotSet()
EVERY_SLOT = SlotSet.first(MAX_SLOTS)
"""All that any pack may have: in a condemn log it says that an id is VOID."""


def slot_array(slots: NDArray[np.uint16] | Iterable[int]) -> NDArray[np.uint16]:
    """Sorted, unique. Raises ValueError when a slot is out of bounds."""
    given = slots if isinstance(slots, np.ndarray) else np.fromiter(slots, dtype=np.int64)
    if given.size and not (0 <= int(given.min()) and int(given.max()) < MAX_SLOTS):
        raise ValueError(f"slots are 0 to {MAX_SLOTS - 1}")
    ascends = bool(np.all(given[1:] > given[:-1]))  # as a decoded set does: sorting it again costs 50 times as much
    return (given if ascends else np.unique(given)).astype(np.uint16)


def encode_slot_set(slots: NDArray[np.uint16]) -> bytes:
    """`slots`: sorted, unique, at least one, as `slot_array` returns it."""
    first, last, count = int(slots[0]), int(slots[-1]), len(slots)
    form = _form(first, last, count)
    head = _SET.pack(first, last, count, form)
    if form == RANGE:
        return head
    if form == ARRAY:
        return head + slots.astype("<u2").tobytes()
    bits = np.zeros(last - first + 1, dtype=np.uint8)
    bits[slots - np.uint16(first)] = 1
    return head + np.packbits(bits, bitorder="little").tobytes()


def decode_slot_set(body: bytes, offset: int) -> tuple[NDArray[np.uint16], int]:
    """(slots, offset behind them). Raises IntegrityError on anything but what encode_slot_set writes."""
    if len(body) < offset + _SET.size:
        raise IntegrityError("a slot set is cut short")
    first, last, count, form = _SET.unpack_from(body, offset)
    if not (first <= last < MAX_SLOTS and 1 <= count <= last - first + 1) or form != _form(first, last, count):
        raise IntegrityError("a slot set's bounds are wrong")
    start = offset + _SET.size
    end = start + _payload_bytes(first, last, count, form)
    if len(body) < end:
        raise IntegrityError("a slot set is cut short")
    slots = _payload_slots(body[start:end], first, last, form)
    if len(slots) != count or slots[0] != first or slots[-1] != last or not bool(np.all(slots[1:] > slots[:-1])):
        raise IntegrityError("a slot set does not hold what its bounds say")
    return slots, end


def _form(first: int, last: int, count: int) -> int:
    span = last - first + 1
    if count == span:
        return RANGE
    return BITMAP if (span + 7) // 8 <= 2 * count else ARRAY


def _payload_bytes(first: int, last: int, count: int, form: int) -> int:
    return {RANGE: 0, BITMAP: (last - first) // 8 + 1, ARRAY: 2 * count}[form]


def _payload_slots(payload: bytes, first: int, last: int, form: int) -> NDArray[np.uint16]:
    if form == RANGE:
        return np.arange(first, last + 1, dtype=np.uint16)
    if form == ARRAY:
        return np.frombuffer(payload, dtype="<u2").astype(np.uint16)
    found = np.flatnonzero(np.unpackbits(np.frombuffer(payload, dtype=np.uint8), bitorder="little"))
    if found.size == 0 or int(found[-1]) > last - first:  # a bit set in the padding
        raise IntegrityError("a slot set's bitmap is wrong")
    return (found + first).astype(np.uint16)
