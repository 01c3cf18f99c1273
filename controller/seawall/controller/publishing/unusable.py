"""Which slots of a parent an agent must not name again, told when its attempt begins (rule 7). Pure.

Without this list a hand-in would be answered with them, and the whole point written twice.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from seawall.controller.records.catalogue import Pack, PackState
from seawall.repository.format.slot_set import SlotSet

MOST_BYTES = 2 * 1024 * 1024
"""Of the list on the wire. A parent that lost more is worth little."""

_ID_AND_FRAME_BYTES = 24


def doubtful_packs(pack_ids: frozenset[bytes], known: Mapping[bytes, Pack], host_id: str) -> frozenset[bytes]:
    """Packs of which some slot may not be named by this host."""
    return frozenset(
        pack_id
        for pack_id in pack_ids
        if pack_id not in known or is_closed(known[pack_id], host_id) or known[pack_id].unusable
    )


def unusable_slots(
    slots: Mapping[bytes, NDArray[np.uint16]], known: Mapping[bytes, Pack], host_id: str
) -> dict[bytes, SlotSet]:
    """Of the slots of a refmap."""
    found = {}
    for pack_id, named in slots.items():
        pack = known.get(pack_id)
        if pack is None or is_closed(pack, host_id):
            found[pack_id] = SlotSet.of(named)
        elif pack.unusable:
            found[pack_id] = SlotSet.of(np.intersect1d(named, pack.unusable.array()))
    return {pack_id: bad for pack_id, bad in found.items() if bad}


def is_closed(pack: Pack, host_id: str) -> bool:
    """Whether nothing of it may be named: not stored, or another host's and not verified, so that it may hold anything."""
    return pack.state is not PackState.STORED or (pack.host_id != host_id and not pack.verified)


def wire_bytes(bad: Mapping[bytes, SlotSet]) -> int:
    return sum(len(slots.encoded) + _ID_AND_FRAME_BYTES for slots in bad.values())
