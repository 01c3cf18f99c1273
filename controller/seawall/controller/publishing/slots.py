"""Which slots of a refmap may be committed. Pure: the refmap and what is known of its packs in, a verdict out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.controller.errors import InvalidArgument
from seawall.controller.publishing.unusable import is_closed
from seawall.controller.records.catalogue import Pack

Slots = Mapping[bytes, NDArray[np.uint16]]

# A refmap may name as many plain bytes as the disks have, 2 % for manifests, and this much for small disks' NVRAM and XML.
ALLOWED_PERCENT = 102
ALLOWED_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SlotRef:
    pack_id: bytes
    slot: int


@dataclass(frozen=True, slots=True)
class PackFacts:
    """What is known of the packs that a refmap names. `raw_lengths`: plain bytes by slot, 0 where the pack holds none."""

    tenant: str
    host_id: str
    packs: Mapping[bytes, Pack]
    raw_lengths: Mapping[bytes, NDArray[np.uint32]]


def missing_slots(refmap: Slots, facts: PackFacts) -> tuple[SlotRef, ...]:
    """Those that are not stored, condemned, bad, or in another host's unverified pack: to be stored anew. Empty: it may be committed.

    Raises InvalidArgument/BAD_REFMAP when it names another tenant's pack.
    """
    missing: list[SlotRef] = []
    for pack_id, slots in refmap.items():
        pack = facts.packs.get(pack_id)
        if pack is None or is_closed(pack, facts.host_id):
            missing += [SlotRef(pack_id, int(slot)) for slot in slots]
            continue
        if pack.tenant != facts.tenant:
            raise InvalidArgument("BAD_REFMAP", f"The refmap names pack {pack.id.hex()} of another tenant.")
        missing += [SlotRef(pack_id, int(slot)) for slot in slots[~_held(slots, pack, facts)]]
    return tuple(missing)


def check_size(refmap: Slots, facts: PackFacts, disks_bytes: int) -> None:
    """Raises InvalidArgument/BAD_REFMAP when the refmap names more plain bytes than the disks can hold."""
    named = sum(int(facts.raw_lengths[pack_id][slots].sum(dtype=np.uint64)) for pack_id, slots in refmap.items())
    allowed = disks_bytes * ALLOWED_PERCENT // 100 + ALLOWED_BYTES
    if named > allowed:
        raise InvalidArgument("BAD_REFMAP", f"The refmap names {named} bytes, the disks allow {allowed}.")


def _held(slots: NDArray[np.uint16], pack: Pack, facts: PackFacts) -> NDArray[np.bool_]:
    lengths = facts.raw_lengths.get(pack.id)
    if lengths is None:
        return np.zeros(len(slots), dtype=bool)
    inside = slots < len(lengths)
    held = np.zeros(len(slots), dtype=bool)
    held[inside] = lengths[slots[inside]] > 0
    if pack.unusable:
        held &= ~np.isin(slots, pack.unusable.array())
    return held
