"""The rules dropped from the real code, one at a time, by patching a named seam; each must be caught by a history made for it.

A history is played twice: with the code as it is, and then nothing may be wrong; and with the mutant, and then something must be.

Not planted, as nothing tells it from the code: rule 4, a log is trimmed while packs that it names still wait. Trimming ends a collection
that has just announced anew whatever is ripe, so each DELETE has a younger log, which stays. What waits and is not ripe waits for
compaction, whose DELETE comes after the ledger has the new generation: then it waits no more. The model, where any request may come at any
later time and a DELETE needs no announcement of its own collection, has this rule (TRIMMED).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import seawall.controller.services.transfers as transfers
from seawall.controller.database.leadership import LeadershipRows
from seawall.controller.database.packs import PackRows
from seawall.controller.database.points import PointRows
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.publishing.promotion import Promotion
from seawall.controller.publishing.slots import PackFacts, SlotRef, Slots, missing_slots
from seawall.controller.records.catalogue import Pack, PackState, Point, PointState
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.services.grants import Grants
from seawall.controller.store.transaction import Transaction
from seawall.repository.collecting.compact import compacted_pack, whole_tail
from seawall.repository.collecting.live import LiveSlots
from seawall.repository.collecting.plan import Report
from seawall.repository.collecting.port import Slice
from seawall.repository.collecting.removing import remove_generations
from seawall.repository.collecting.shrinking import Shrinker
from seawall.repository.errors import ObjectExists
from seawall.repository.forgetting.leaders import LeaderMark, newest_leader
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import PackName, pack_name
from seawall.repository.format.open_mark import PointIds, sign_open_mark
from seawall.repository.format.record import body_hash_of
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.store.port import Store

from . import scenarios, scenarios_agents, scenarios_leaders
from .scenario_words import Scenario

Patch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    rule: str
    patch: Patch
    caught_by: Scenario


def _forgets_arrivals() -> AbstractContextManager[Any]:
    condemn = StoreLedger.condemn
    return patch.object(StoreLedger, "condemn", lambda ledger, slice_, seen: condemn(ledger, slice_, 1 << 40))


def _validates_outside() -> AbstractContextManager[Any]:
    """The packs are looked at before the transaction and not again inside."""
    real, calls = missing_slots, [0]

    def missing(slots: Slots, facts: PackFacts) -> tuple[SlotRef, ...]:
        calls[0] += 1
        return real(slots, facts) if calls[0] % 2 else ()

    return patch("seawall.controller.publishing.publisher.missing_slots", missing)


def _intents_are_no_roots() -> AbstractContextManager[Any]:
    roots = PointRows.roots

    def without(rows: PointRows, *given: Any, **named: Any) -> Sequence[Point]:
        return [point for point in roots(rows, *given, **named) if point.state is not PointState.PUBLISHING]

    return patch.object(PointRows, "roots", without)


def _puts_whoever_leads() -> AbstractContextManager[Any]:
    def put(promotion: Promotion, repository: OpenedRepository, name: str, body: bytes) -> None:
        with suppress(ObjectExists):
            repository.store.put(name, body, create_only=True)

    return patch.object(Promotion, "_put", put)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _sweeps_without_void() -> AbstractContextManager[Any]:
    return patch.object(StoreLedger, "void", lambda ledger, pack_ids: frozenset(pack_ids))


def _bad_is_good() -> AbstractContextManager[Any]:
    return patch.object(Pack, "unusable", property(lambda pack: pack.condemned))


def _rebuilds_unfiltered() -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(patch.object(ChunkIndex, "withdraw", _nothing))
    return stack


def _drops_one_more() -> AbstractContextManager[Any]:
    real = compacted_pack

    def more(repository: Any, body: bytes, condemned: SlotSet) -> bytes:
        kept = set(whole_tail(body).table["slot"].tolist()) - set(condemned)
        return real(repository, body, condemned | SlotSet.of([min(kept)]) if len(kept) > 1 else condemned)

    return patch("seawall.repository.collecting.shrinking.compacted_pack", more)


class _Agreeing(bytes):
    """Equals whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def _copies_unproven() -> AbstractContextManager[Any]:
    return patch("seawall.repository.collecting.compact.body_hash_of", lambda stored: _Agreeing(body_hash_of(stored)))


def _reads_nothing_back() -> AbstractContextManager[Any]:
    def write(shrinker: Any, pack: Any, generation: int, body: bytes) -> None:
        shrinker.repository.store.put(pack_name(pack.tenant, pack.pack_id, generation), body)

    return patch.object(Shrinker, "_write", write)


def _no_tombstone() -> AbstractContextManager[Any]:
    stack = ExitStack()
    for name in ("_bury", "_require_newest"):
        stack.enter_context(patch.object(Deletions, name, _nothing))
    return stack


def _any_tenant() -> AbstractContextManager[Any]:
    real = missing_slots

    def missing(slots: Slots, facts: PackFacts) -> tuple[SlotRef, ...]:
        packs = {pack_id: replace(pack, tenant=facts.tenant) for pack_id, pack in facts.packs.items()}
        return real(slots, replace(facts, packs=packs))

    return patch("seawall.controller.publishing.publisher.missing_slots", missing)


def _sweeps_open_attempts() -> AbstractContextManager[Any]:
    def in_use(rows: PackRows, repository_id: str, pack_ids: Collection[bytes], since_us: int) -> frozenset[bytes]:
        return frozenset()

    return patch.object(PackRows, "in_use", in_use)


def _deletes_first() -> AbstractContextManager[Any]:
    condemn = StoreLedger.condemn

    def late(ledger: StoreLedger, slice_: Slice, seen: int) -> Any:
        for pack_id, pack in ledger.facts(list(slice_.slots)).items():
            if len(slice_.slots[pack_id]) == pack.slots:
                store = ledger._index.store  # type: ignore[attr-defined]
                remove_generations(store, pack.tenant, pack_id, pack.generations, Report(plan_only=False))
        return condemn(ledger, slice_, seen)

    return patch.object(StoreLedger, "condemn", late)


def _ids_again() -> AbstractContextManager[Any]:
    real = transfers._reserve

    def reserve(transaction: Transaction, wanted: Pack) -> bool:
        known = transaction.packs.packs(wanted.repository_id, [wanted.id]).get(wanted.id)
        if known is not None and known.state in (PackState.VOID, PackState.DELETED):
            transaction.packs.save_pack(known, replace(known, state=PackState.OPEN, attempt_id=wanted.attempt_id))
        return real(transaction, wanted)

    return patch.object(transfers, "_reserve", reserve)


def _numbers_again() -> AbstractContextManager[Any]:
    def reserve(pack: Pack, above: int) -> tuple[int, Pack]:
        first = pack.generations[-1] + 1
        return first, replace(pack, reserved_generation=first + len(pack.generations) - 1)

    return patch.object(Pack, "reserve", reserve)


def _sweeps_later_generations() -> AbstractContextManager[Any]:
    def is_other(name: PackName, stored: Mapping[bytes, Any]) -> bool:
        return name.pack_id in stored and name.generation not in stored[name.pack_id].generations

    return patch("seawall.repository.collecting.sweep._is_older", is_other)


def _sweeps_unannounced() -> AbstractContextManager[Any]:
    return patch("seawall.repository.collecting.sweep.announce", _nothing)


def _leads_by_number() -> AbstractContextManager[Any]:
    def newest(store: Store) -> LeaderMark:
        """The number alone: whoever asks takes the greatest for its own."""
        return replace(newest_leader(store), holder="")

    stack = ExitStack()
    for user in ("seawall.controller.repositories.newest", "seawall.repository.collecting.announce"):
        stack.enter_context(patch(f"{user}.newest_leader", newest))
    opening = "seawall.controller.repositories.catalogue.leads"
    stack.enter_context(
        patch(opening, lambda mine, marks: all(mark.epoch < mine.epoch for mark in marks if mark < mine))
    )
    return stack


def _everything_counts() -> AbstractContextManager[Any]:
    """Of manifests: whatever lies there is a point."""
    stack = ExitStack()
    for name in ("names", "manifest_counts"):
        stack.enter_context(patch.object(Standing, name, lambda *_: True))
    return stack


def _leaves_out(field: str, nothing: object) -> AbstractContextManager[Any]:
    """Of the open mark."""
    return patch(
        "seawall.controller.repositories.opening_mark.sign_open_mark",
        lambda mark, key: sign_open_mark(replace(mark, **{field: nothing}), key),
    )


def _intents_are_not_named() -> AbstractContextManager[Any]:
    real = PointRows.root_ids

    def root_ids(rows: PointRows, repository_id: str) -> Collection[str]:
        return set(real(rows, repository_id)) - rows.unfinished().keys()

    return patch.object(PointRows, "root_ids", root_ids)


MUTANTS = (
    Mutant("1: a slice forgets what arrived", _forgets_arrivals, scenarios.arrives_during_collection),
    Mutant(
        "1: packs that the mark never saw are condemned",
        lambda: patch.object(LiveSlots, "knows", lambda live, pack_id: True),
        scenarios.reported_while_marked,
    ),
    Mutant("2: validation is not ordered", _validates_outside, scenarios.condemned_during_validation),
    Mutant("3: intents are not live", _intents_are_no_roots, scenarios.collected_at_the_intent),
    Mutant(
        "3: the lease is not looked at before a PUT",
        _puts_whoever_leads,
        scenarios_leaders.puts_nothing_once_another_leads,
    ),
    Mutant(
        "4: a start replays no logs",
        lambda: patch("seawall.controller.repositories.replay.replay_log", _nothing),
        scenarios_leaders.deleted_late_after_a_roll_back,
    ),
    Mutant(
        "4: a start adopts no points",
        lambda: patch("seawall.controller.repositories.replay.unknown_points", lambda *_: []),
        scenarios_leaders.rolled_back_before_a_point,
    ),
    Mutant(
        "5: deletes unannounced",
        lambda: patch("seawall.repository.collecting.collect.announce", _nothing),
        scenarios_leaders.collected_by_one_who_was_replaced,
    ),
    Mutant(
        "5: acknowledges without a look",
        lambda: patch("seawall.controller.publishing.promotion.require_newest", _nothing),
        scenarios_leaders.acknowledged_by_one_who_was_replaced,
    ),
    Mutant("6: sweeps without VOID", _sweeps_without_void, scenarios.reported_while_swept),
    Mutant("7: bad slots pass", _bad_is_good, scenarios.names_a_bad_slot),
    Mutant(
        "7: the parent's bad slots are not told",
        lambda: patch.object(Grants, "_bad_slots", lambda *_: {}),
        scenarios_agents.goes_on_from_a_point_with_a_bad_slot,
    ),
    Mutant("8: the rebuilt index is not filtered", _rebuilds_unfiltered, scenarios.looks_up_after_the_index_was_lost),
    Mutant(
        "4: a log of a replaced leader counts",
        lambda: patch.object(LeadershipRows, "opened_epoch", lambda rows, repository_id: 0),
        scenarios_leaders.replaced_and_its_log_comes_late,
    ),
    Mutant(
        "4: no stock is taken below trimmed logs",
        lambda: patch("seawall.controller.repositories.replay.taken_stock", lambda *_: []),
        scenarios_leaders.rolled_back_below_the_trimmed_logs,
    ),
    Mutant(
        "4: no open mark is written",
        lambda: patch("seawall.controller.repositories.catalogue.put_open_mark", _nothing),
        scenarios_leaders.finished_late_by_one_who_was_replaced,
    ),
    Mutant(
        "4: the open mark leaves intents out", _intents_are_not_named, scenarios_leaders.finished_by_the_next_leader
    ),
    Mutant(
        "4: the open mark leaves deletions out",
        lambda: _leaves_out("leaving", PointIds()),
        scenarios_leaders.deletion_carried_on_and_rolled_back,
    ),
    Mutant(
        "4: the open mark leaves points out",
        lambda: _leaves_out("points", PointIds()),
        scenarios_leaders.buried_late_by_one_who_was_replaced,
    ),
    Mutant(
        "5: a replaced leader's manifest counts",
        _everything_counts,
        scenarios_leaders.finished_late_by_one_who_was_replaced,
    ),
    Mutant(
        "5: a replaced leader's tombstone counts",
        lambda: patch.object(Standing, "tombstone_counts", lambda *_: True),
        scenarios_leaders.buried_late_by_one_who_was_replaced,
    ),
    Mutant(
        "5: a replaced leader's log counts",
        lambda: patch.object(Standing, "log_counts", lambda *_: True),
        scenarios_leaders.logged_in_vain_and_rolled_back_further,
    ),
    Mutant(
        "5: leaders of one number are not told apart", _leads_by_number, scenarios_leaders.announced_with_one_number
    ),
    Mutant("6: numbers are given out again", _numbers_again, scenarios.compacted_again_after_a_bad_copy),
    Mutant("6: swept without its announcement", _sweeps_unannounced, scenarios_leaders.swept_by_one_who_was_replaced),
    Mutant("9: later generations are swept", _sweeps_later_generations, scenarios_leaders.compacted_while_rolled_back),
    Mutant("9: compaction drops more", _drops_one_more, scenarios.compacted),
    Mutant("9: compaction proves nothing", _copies_unproven, scenarios.compacted_while_reads_are_bad),
    Mutant("9: compaction reads nothing back", _reads_nothing_back, scenarios.compacted_into_nothing),
    Mutant(
        "10: restores take no pin",
        lambda: patch.object(Grants, "_pin", _nothing),
        scenarios.forgotten_during_a_restore,
    ),
    Mutant("11: no tombstone, no look", _no_tombstone, scenarios_leaders.forgotten_by_one_who_was_replaced),
    Mutant("12: any tenant's packs", _any_tenant, scenarios.names_a_pack_of_another_tenant),
    Mutant(
        "12: more bytes than the disks hold",
        lambda: patch("seawall.controller.publishing.publisher.check_size", _nothing),
        scenarios_agents.names_more_than_its_disks_hold,
    ),
    Mutant(
        "12: proven without recomputing the refmap",
        lambda: patch("seawall.repository.checking.proving.is_sound", lambda *_: True),
        scenarios_agents.needs_what_its_refmap_does_not_name,
    ),
    Mutant(
        "mistake: the commit check is skipped",
        lambda: patch("seawall.controller.publishing.publisher.missing_slots", lambda slots, facts: ()),
        scenarios.handed_in_after_condemning,
    ),
    Mutant("mistake: an open attempt is swept", _sweeps_open_attempts, scenarios.collected_while_backed_up),
    Mutant("mistake: deleted before condemned", _deletes_first, scenarios.arrives_during_collection),
    Mutant("mistake: an id is used again", _ids_again, scenarios.sealed_again_after_it_was_void),
)
