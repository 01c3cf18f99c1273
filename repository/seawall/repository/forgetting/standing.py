"""Which objects of leaders that were replaced still count (rule 5). Called by everybody who reads manifests, tombstones or condemn logs.

A leader that was replaced may have requests under way, and they may arrive at any time. So each leader, before it serves, writes down what
of all epochs before its own counts (`v1/c/open`, `format/open_mark.py`); what arrives later and is not named there is void: nobody was told
of it, nothing is kept for it, and nothing is hidden by it. It stays where it lies until an operator has looked at it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seawall.repository.bounded import read_bounded
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.config import RepositoryConfig
from seawall.repository.format.layout import OPENS_PREFIX, open_name, parse_open_name
from seawall.repository.format.open_mark import OPEN_MARK_BYTES, OpenMark, read_open_mark
from seawall.repository.format.root_object import Statement
from seawall.repository.format.tombstone import Burial
from seawall.repository.naming import naming
from seawall.repository.store.port import Store

ALL_COUNTS = (
    "Until a controller opens the repository again, what replaced controllers still wrote counts too: points that nobody was told of show, "
    "and a tombstone that came late hides its point."
)
_MOST_LOOKS = 10
"""Leaders that begin one after the other while somebody reads."""


class Unreadable:
    """Stands for the statement of a manifest that lies there and is damaged, newer than this reader, or not given out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The rule, pure. `last`: the last open mark; None: nobody ever wrote one, or it cannot be read (`damage` says why), and all counts.

    `damaged`: (epoch, number) in the name of a mark that cannot be read.
    """

    last: OpenMark | None = None
    damage: str = ""
    damaged: tuple[int, int] | None = None

    def doubt(self, object_name: str, epoch: int) -> str:
        """Why nothing may be deleted because of a tombstone or log of this epoch: a mark that cannot be read might call it void.

        "" where it may. For who deletes; who only reads goes on, and says what is damaged.
        """
        if self.damaged is None or epoch >= self.damaged[0]:
            return ""
        mark = open_name(*self.damaged)
        return (
            f"{object_name}: whether it counts stands in {mark}, which cannot be read. Nothing was deleted. Put {mark} back from a copy or "
            f"an older version of the bucket. Where there is none: move {object_name} away if a controller wrote it after it had been "
            f"replaced, or else {mark}; without an open mark all counts that lies there"
        )

    def names(self, point_id: str) -> bool:
        """Whether the point stands whatever its manifest says of its epoch."""
        return self.last is None or point_id in self.last.points

    def manifest_counts(self, statement: Statement) -> bool:
        """One that says no leader's epoch was written before there were open marks."""
        if self.last is None or statement.leader_epoch is None or statement.leader_epoch >= self.last.epoch:
            return True
        return statement.point_id in self.last.points

    def tombstone_counts(self, burial: Burial, statement: Callable[[], Statement | Unreadable | None]) -> bool:
        """`statement`: of the manifest that lies there, asked for only where it decides; None where none does.

        What buries nothing that counts may count: so a tombstone of a point that is not named needs no name. But none is older than the
        manifest that it buries. One that cannot be read may be younger: then the point stands, damaged, and nothing is deleted.
        """
        if self.last is None or burial.epoch >= self.last.epoch:
            return True
        if burial.point_id in self.last.points:
            return burial.point_id in self.last.leaving
        lying = statement()
        if isinstance(lying, Unreadable):
            return False
        return lying is None or lying.leader_epoch is None or lying.leader_epoch < self.last.epoch

    def log_counts(self, number: tuple[int, int]) -> bool:
        """(number, epoch) of a condemn log."""
        return self.last is None or number[1] >= self.last.epoch or number in self.last.logs


def open_numbers(store: Store) -> list[tuple[int, int]]:
    """(epoch, number) of each open mark, the last first."""
    found = (parse_open_name(info.name) for info in store.list(OPENS_PREFIX))
    return sorted((number for number in found if number is not None), reverse=True)


def read_standing(store: Store, config: RepositoryConfig) -> Standing:
    """What counts now. A mark that the store lists and does not give out is damaged like one with a flipped bit.

    Raises what listing them raises, StoreUnavailable.
    """
    for _ in range(_MOST_LOOKS):
        last = next(iter(open_numbers(store)), None)
        if last is None:
            return Standing()
        name = open_name(*last)
        try:
            return Standing(_read(store, config, name, last))
        except ObjectMissing as error:
            why = str(error)  # its successor is there, as the one before goes only then; or it is lost
        except (IntegrityError, FormatUnsupported, StoreRefused) as error:
            why = str(error)
            break
    return Standing(damage=f"{why}. {ALL_COUNTS}", damaged=last)


def _read(store: Store, config: RepositoryConfig, name: str, number: tuple[int, int]) -> OpenMark:
    with naming(name):
        mark = read_open_mark(read_bounded(store, name, OPEN_MARK_BYTES), config.signing_public_key)
        if (mark.epoch, mark.number) != number or mark.lineage_id != config.lineage_id:
            raise IntegrityError("an open mark of another place or repository")
    return mark
