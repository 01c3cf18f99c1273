"""Another look at what was validated before this leader led: its data may have been collected in a time that the database lost. Pure.

A database that is put back may hold a point as PUBLISHING that was given up, or published and deleted, long ago. What left the bucket since
is known again by then: opening the repository carries out the condemn logs that this database had not reached (repositories/replay.py).
"""

from collections.abc import Mapping

from seawall.controller.errors import DataLoss
from seawall.controller.publishing.slots import Slots
from seawall.controller.records.catalogue import Pack, PackState
from seawall.repository.format.slot_set import SlotSet


class DataCollected(DataLoss):
    """The point would name data that is gone, or going."""

    REASON = "POINT_DATA_COLLECTED"

    def __init__(self, point_id: str, packs: int) -> None:
        super().__init__(
            self.REASON,
            f"The database was put back to a time when point {point_id} was about to be published; meanwhile data that it needs was "
            f"collected from {packs} packs. It was not published.",
        )


def packs_that_lost(slots: Slots, packs: Mapping[bytes, Pack]) -> int:
    """How many of the packs that a refmap names hold not all of the named slots any more."""
    return sum(not _holds(packs.get(pack_id), SlotSet.of(named)) for pack_id, named in slots.items())


def _holds(pack: Pack | None, named: SlotSet) -> bool:
    return pack is not None and pack.state is PackState.STORED and pack.keeps(named)
