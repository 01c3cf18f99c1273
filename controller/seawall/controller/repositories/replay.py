"""What a bucket knows of slots that left, and a database restored from an older copy does not: learned before anything is looked up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from seawall.controller.records.catalogue import PackState
from seawall.controller.repositories.adopting import adopt_point, tell_adopted, unknown_points
from seawall.controller.repositories.opening_mark import Before
from seawall.controller.repositories.stock import taken_stock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.collecting.condemn_logs import read_condemn_log
from seawall.repository.collecting.trimming import trimmed_to
from seawall.repository.errors import IntegrityError
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.condemn_log import CondemnLog
from seawall.repository.format.layout import condemned_name
from seawall.repository.format.open_mark import LogNumber
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.generations import current_generation, stored_generations
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LaterLog:
    """A log with a number that this database has not reached yet."""

    name: str
    log: CondemnLog


def catch_up(
    database: Store,
    lease: LeaderLease,
    clock: Clock,
    repository: OpenRepository,
    repository_id: str,
    mark: LeaderMark,
    before: Before,
) -> list[str]:
    """Adopts points that the database does not know, whose ids it returns, and carries out again the logs that it has not reached. Usually
    there are none; any of them says that the database was put back: attempts of before are fenced (`db_epoch`), also where `announce` could
    not notice it.

    Where such logs may be trimmed, the packs in the bucket say what they said. One transaction: adopting takes the next numbers, and
    whether a log was carried out is told by its number alone. `mark`: put into the bucket first; `before`: looked at after that. Raises
    Unavailable/NOT_LEADER;
    IntegrityError naming a log: a damaged one may hold what must never be named again, and one that a damaged open mark might call void
    may condemn what is needed.
    """
    logs = later_logs(database, repository, repository_id, before.standing, before.logs)
    for later in logs:
        if doubt := before.standing.doubt(later.name, later.log.epoch):
            raise IntegrityError(doubt)
    points = unknown_points(database, repository, repository_id, doomed_slots(logs), before)
    floor = trimmed_to(repository.store)
    reached = database.read_now(lambda transaction: transaction.leadership.publications(repository_id))
    changed = taken_stock(database, clock, repository, repository_id) if reached < floor else []
    present = _present(database, repository, repository_id, logs)
    leader = lease.current

    def closure(transaction: Transaction) -> list[bool]:
        transaction.leadership.check(leader)
        for before, after in changed:
            transaction.packs.save_pack(before, after)
        adopted = [adopt_point(transaction, leader, clock, repository_id, point) for point in points]
        for later in logs:
            replay_log(transaction, clock, repository_id, later.log, present)
        if logs or any(adopted) or reached < floor:
            # The bucket knows what only a lost transaction can have led to, whatever its epochs say.
            transaction.leadership.raise_db_epoch()
        transaction.leadership.raise_publications(repository_id, floor)
        transaction.leadership.note_opening(repository_id, mark.epoch)
        return adopted

    outcomes = list(zip(points, database.write_now(closure), strict=True))
    for point, adopted in outcomes:
        tell_adopted(point, adopted)
    if reached < floor:
        _log.warning(
            "repository.stock_taken", repository_id=repository_id, packs_changed=len(changed), trimmed_to=floor
        )
    for later in logs:
        _log.warning(
            "repository.condemned_replayed", repository_id=repository_id, log=later.name, packs=len(later.log.slots)
        )
    return [point.name.point_id for point, adopted in outcomes if adopted]


def doomed_slots(logs: Iterable[LaterLog]) -> dict[bytes, SlotSet]:
    """What carrying them out will condemn, by pack."""
    doomed: dict[bytes, SlotSet] = {}
    for later in logs:
        for pack_id, slots in later.log.slots.items():
            doomed[pack_id] = doomed.get(pack_id, NO_SLOTS) | slots
    return doomed


def later_logs(
    database: Store,
    repository: OpenRepository,
    repository_id: str,
    standing: Standing,
    there: Iterable[LogNumber],
    *,
    from_the_first: bool = False,
) -> list[LaterLog]:
    """Of those that are `there`, by number. One of a leader older than the last that opened the repository on this database was not there
    then: whoever wrote it saw a later leader, and deleted nothing (rule 5). It is void; so is one that `standing` does not name, of which
    this database may be too old to know. `from_the_first`: whatever the database has reached.
    Raises IntegrityError naming the one that is damaged.
    """
    reached, opened = database.read_now(
        lambda transaction: (
            transaction.leadership.publications(repository_id),
            transaction.leadership.opened_epoch(repository_id),
        )
    )
    reached = -1 if from_the_first else reached
    later = []
    for number in sorted(number for number in there if number[0] > reached):
        name = condemned_name(*number)
        if number[1] < opened or not standing.log_counts(number):
            _log.warning("condemn_log.void", repository_id=repository_id, log=name, opened_epoch=opened)
        else:
            later.append(LaterLog(name, read_condemn_log(repository, number)))
    return later


def _present(
    database: Store, repository: OpenRepository, repository_id: str, logs: Iterable[LaterLog]
) -> dict[bytes, list[int]]:
    """Generations in the bucket of packs that the database knows: what was announced was deleted or compacted since."""
    ids = list({pack_id for later in logs for pack_id in later.log.slots})
    known = database.read_now(lambda transaction: transaction.packs.packs(repository_id, ids))
    return {pack.id: stored_generations(repository.store, pack.tenant, pack.id) for pack in known.values()}


def replay_log(
    transaction: Transaction, clock: Clock, repository_id: str, log: CondemnLog, present: Mapping[bytes, list[int]]
) -> None:
    ids = list(log.slots)
    known = transaction.packs.packs(repository_id, ids)
    transaction.packs.void_unknown(repository_id, [pack_id for pack_id in ids if pack_id not in known])
    for pack in known.values():
        if pack.state is PackState.OPEN:
            # It was reported and condemned in the time that was lost: a DELETE may still be under way.
            transaction.packs.void(repository_id, pack.id)
        if pack.state is not PackState.STORED:
            continue
        every = SlotSet.first(pack.slots)
        condemned = pack.condemned | (every - (every - log.slots[pack.id]))
        after = replace(pack, condemned=condemned, condemned_us=clock.now_us())
        there = present.get(pack.id, [])
        if there and pack.generation not in there:
            newest = current_generation(there[0], pack.meta)
            after = replace(after, generation=newest, reserved_generation=max(pack.reserved_generation, there[0]))
        transaction.packs.save_pack(pack, after)
    transaction.leadership.raise_publications(repository_id, log.seq)
