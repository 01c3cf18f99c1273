"""What a bucket knows of slots that left, and a database restored from an older copy does not: learned before anything is looked up."""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from seawall.controller.records.catalogue import PackState
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store import Store, Transaction
from seawall.repository.bounded import MANIFEST_BYTES, read_bounded
from seawall.repository.clock import Clock
from seawall.repository.errors import IntegrityError
from seawall.repository.format.condemn_log import CondemnLog, open_condemn_log
from seawall.repository.format.layout import CONDEMNED_PREFIX, parse_condemned_name
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.generations import stored_generations
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


def replay_condemned(
    database: Store, lease: LeaderLease, clock: Clock, repository: OpenRepository, repository_id: str
) -> None:
    """Logs with numbers that this database has not reached yet are carried out again. Usually there are none.

    Raises IntegrityError naming the log: a damaged one may hold what must never be named again.
    """
    for name, log in _later_logs(database, repository, repository_id):
        _carry_out(database, lease, clock, repository, repository_id, log)
        _log.warning("repository.condemned_replayed", repository_id=repository_id, log=name, packs=len(log.slots))


def doomed_slots(database: Store, repository: OpenRepository, repository_id: str) -> dict[bytes, SlotSet]:
    """What `replay_condemned` will condemn, by pack. Raises as it does."""
    doomed: dict[bytes, SlotSet] = {}
    for _, log in _later_logs(database, repository, repository_id):
        for pack_id, slots in log.slots.items():
            doomed[pack_id] = doomed.get(pack_id, NO_SLOTS) | slots
    return doomed


def _later_logs(database: Store, repository: OpenRepository, repository_id: str) -> list[tuple[str, CondemnLog]]:
    """By number, with their names."""
    reached = database.read_now(lambda transaction: transaction.leadership.publications(repository_id))
    found = {info.name: parse_condemned_name(info.name) for info in repository.store.list(CONDEMNED_PREFIX)}
    later = sorted((number, name) for name, number in found.items() if number is not None and number[0] > reached)
    logs = []
    for number, name in later:
        with naming(name):
            log = open_condemn_log(
                read_bounded(repository.store, name, MANIFEST_BYTES), repository.config.signing_public_key
            )
            if (log.seq, log.epoch) != number or log.lineage_id != repository.config.lineage_id:
                raise IntegrityError("a condemn log of another name or repository")
        logs.append((name, log))
    return logs


def _carry_out(
    database: Store, lease: LeaderLease, clock: Clock, repository: OpenRepository, repository_id: str, log: CondemnLog
) -> None:
    known = database.read_now(lambda transaction: transaction.packs.packs(repository_id, list(log.slots)))
    # What was announced was deleted or compacted since: the generation that the older database knows may be gone.
    present = {pack.id: stored_generations(repository.store, pack.tenant, pack.id) for pack in known.values()}

    def closure(transaction: Transaction) -> None:
        transaction.leadership.check(lease.current)
        _replay(transaction, clock, repository_id, log, present)

    database.write_now(closure)


def _replay(
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
        condemned = pack.condemned | log.slots[pack.id]
        after = replace(pack, condemned=condemned, condemned_us=clock.now_us())
        there = present.get(pack.id, [])
        if there and pack.generation not in there:
            newest = there[0] & ~1 if pack.meta else there[0]
            after = replace(after, generation=newest, reserved_generation=max(pack.reserved_generation, there[0]))
        transaction.packs.save_pack(pack, after)
    transaction.leadership.raise_publications(repository_id, log.seq)
