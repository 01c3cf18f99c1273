"""Who leads, as the bucket says it: controllers announce each start in `v1/c/epoch/<n>-<uuid>`, the greatest counts (rule 5).

Two controllers on copies of one database may take the same number; then the name behind it decides, for both alike.
"""

from collections.abc import Collection
from dataclasses import dataclass

from seawall.repository.format.layout import EPOCHS_PREFIX, epoch_name, parse_epoch_name
from seawall.repository.store.port import Store


@dataclass(frozen=True, slots=True, order=True)
class LeaderMark:
    """One start of a controller in one bucket. `holder`: a UUID of its process."""

    epoch: int
    holder: str

    @property
    def name(self) -> str:
        """Of its object."""
        return epoch_name(self.epoch, self.holder)

    def __str__(self) -> str:
        return f"{self.epoch} ({self.holder})"


NOBODY = LeaderMark(0, "")


def newest_leader(store: Store) -> LeaderMark:
    """Of all controllers that ever announced themselves in this bucket; NOBODY where none did."""
    return max((mark for info in store.list(EPOCHS_PREFIX) if (mark := leader_mark(info.name))), default=NOBODY)


def leader_mark(name: str) -> LeaderMark | None:
    """None: not a name of such an object."""
    parts = parse_epoch_name(name)
    return None if parts is None else LeaderMark(*parts)


def leads(mine: LeaderMark, announced: Collection[LeaderMark]) -> bool:
    """Whether this mark lies there and every other has a lower number. Of two with one number neither leads: both rise."""
    return mine in announced and all(mark.epoch < mine.epoch for mark in announced if mark != mine)
