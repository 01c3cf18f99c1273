"""Condemn logs and announcements of leaders that nobody will ever need again go. Called at the end of a collection.

A log says what leaves before it is deleted; a database older than the log learns of it from there. Once all that a log announced has
left, the bucket itself says so: the objects are gone. So a log goes when it is older than the horizon, all of it is done, and the bucket
says up to which number logs may be missing (`v1/c/trimmed/<seq>`, written first): a database that has not reached that number is compared
with the packs that lie in the bucket (DESIGN.md, "Trimming").
"""

from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass

from seawall.repository.collecting.announce import require_newest
from seawall.repository.collecting.condemn_logs import read_condemn_log
from seawall.repository.collecting.plan import Leaving, Report
from seawall.repository.collecting.port import Ledger, PackFacts, PackStanding
from seawall.repository.collecting.removing import remove
from seawall.repository.errors import IntegrityError, ObjectExists
from seawall.repository.forgetting.leaders import LeaderMark, leader_mark
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    EPOCHS_PREFIX,
    TRIMMED_PREFIX,
    parse_condemned_name,
    parse_trimmed_name,
    trimmed_name,
)
from seawall.repository.repository import OpenRepository
from seawall.repository.steps import OnStep
from seawall.repository.store.port import ObjectInfo, Store


def trimmed_to(store: Store) -> int:
    """Condemn logs up to this number may be missing. 0: all are there."""
    return max((parse_trimmed_name(info.name) or 0 for info in store.list(TRIMMED_PREFIX)), default=0)


@dataclass(frozen=True, slots=True)
class Trimmer:
    """`older_than_us`: modified before this moment, by the store's clock. `reached`: the ledger's number; later logs are not its own."""

    repository: OpenRepository
    ledger: Ledger
    report: Report
    leader: LeaderMark
    reached: int
    older_than_us: int
    on_step: OnStep
    condemned_now: Container[bytes] = frozenset()
    """Planned: packs of which something would be condemned before."""

    def trim(self) -> None:
        """Raises LedgerRefused, StoreUnavailable."""
        self._trim_logs()
        self._trim_epochs()

    def plan(self) -> None:
        """Counts what `trim` would take at the end of a collection. Changes nothing. Raises as it does."""
        spent = list(self._spent())
        for _, info in spent:
            self.report.leaves(Leaving.LOG, info.name, info.size_bytes)
        if spent:
            floor = max(spent[-1][0], trimmed_to(self.repository.store))
            for info in self._outrun(floor):
                self.report.leaves(Leaving.LOG, info.name, info.size_bytes)
        for info in self._spent_epochs():
            self.report.leaves(Leaving.LOG, info.name, info.size_bytes)

    def _trim_logs(self) -> None:
        spent = list(self._spent())
        if not spent:
            return
        self.ledger.may_continue()
        with suppress(ObjectExists):
            self.repository.store.put(trimmed_name(spent[-1][0]), b"")
        self.on_step("trimming announced")
        require_newest(self.repository.store, self.leader)
        for _, info in spent:
            self._remove(info)
        for info in self._outrun(trimmed_to(self.repository.store)):
            self._remove(info)

    def _outrun(self, floor: int) -> list[ObjectInfo]:
        """Earlier words of what is trimmed, now that the bucket says so up to `floor`."""
        found = [(parse_trimmed_name(info.name), info) for info in self.repository.store.list(TRIMMED_PREFIX)]
        return [info for number, info in found if number is not None and number < floor]

    def _spent(self) -> Iterator[tuple[int, ObjectInfo]]:
        """(number, object) of the first logs, up to one that must stay."""
        found = ((parse_condemned_name(info.name), info) for info in self.repository.store.list(CONDEMNED_PREFIX))
        numbered = sorted(((number, info) for number, info in found if number), key=lambda each: each[0])
        stay = next(
            (number for number, info in numbered if not self._is_spent(number, info.name, info.modified_us)), None
        )
        for number, info in numbered:
            if stay is not None and number[0] >= stay[0]:  # another history may have used the same number
                return
            yield number[0], info

    def _is_spent(self, number: tuple[int, int], name: str, modified_us: int) -> bool:
        """Old, known to the ledger, and all that it announced has left."""
        if modified_us > self.older_than_us or number[0] > self.reached:
            return False
        try:
            log = read_condemn_log(self.repository, number)
        except IntegrityError as error:
            self.report.keep_back(name, str(error))
            return False
        packs = self.ledger.facts(list(log.slots)).values()
        return not any(pack.standing is PackStanding.STORED and self._still_waits(pack) for pack in packs)

    def _still_waits(self, pack: PackFacts) -> bool:
        """A plan looks before anything is condemned, and before what is ripe has gone; a collection afterwards."""
        return pack.pack_id in self.condemned_now or (pack.waiting and not (self.report.plan_only and pack.ripe))

    def _trim_epochs(self) -> None:
        for info in self._spent_epochs():
            self._remove(info)

    def _spent_epochs(self) -> list[ObjectInfo]:
        """Only the greatest ever decides anything: it stays, as does everything while ours is not it."""
        marks = {info: leader_mark(info.name) for info in self.repository.store.list(EPOCHS_PREFIX)}
        spent = [
            info
            for info, mark in marks.items()
            if mark is not None and mark < self.leader and info.modified_us <= self.older_than_us
        ]
        if not spent or max(mark for mark in marks.values() if mark is not None) != self.leader:
            return []
        return sorted(spent, key=lambda info: info.name)

    def _remove(self, info: ObjectInfo) -> None:
        if remove(self.repository.store, info.name, self.report):
            self.report.leaves(Leaving.LOG, info.name, info.size_bytes)
        self.on_step("trimmed")
