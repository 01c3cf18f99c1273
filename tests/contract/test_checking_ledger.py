"""The contract of the checking ledger: in memory, over the controller's database, and the same through the worker's pipe."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.verify_calls import verify_calls
from seawall.controller.maintenance.verify_ledger import VerifyLedger
from seawall.controller.maintenance.verify_piped import PipedVerifyLedger
from seawall.controller.records.catalogue import Pack, PackState, Point, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.store.transaction import Transaction
from seawall.repository.checking.port import CommittedPoint, Ledger, PackFacts, PointDamage, Progress
from seawall.repository.collecting.port import LedgerRefused
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import SlotSet
from support.checking_ledger import LEADER, MemoryCheckingLedger
from support.controller_records import NOW, a_pack, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.sqlite_template import new_sqlite
from support.store_clock import SkippingClock

VMS = "00000000-0000-4000-8000-{:012d}"
DAMAGE = PointDamage(3, (b"\x01" * 16,), 1, 65536, {"vda": ((0, 65536), (1 << 20, 4096))})
SOME = SlotSet.of((1, 5))


@dataclass
class RecordingIndex:
    """What the chunk index was told."""

    told: list[tuple[str, bytes]] = field(default_factory=list)

    def withdraw(self, pack_id: bytes, slots: SlotSet) -> None:
        self.told.append((f"withdraw {list(slots)}", pack_id))

    def verified(self, pack: Pack) -> None:
        self.told.append(("verified", pack.id))

    def entered_anew(self, pack: Pack) -> None:
        self.told.append((f"anew {pack.generation}", pack.id))


@dataclass
class Made:
    """A ledger over four packs (the fourth of two copies) and three points, of which the last is being published."""

    ledger: Ledger
    index: RecordingIndex | None = None
    database: SqliteDatabase | None = None


def name(number: int) -> PointName:
    return PointName("default", VMS.format(number), a_run(number).id)


@contextmanager
def memory(_: Path) -> Iterator[Made]:
    packs = [PackFacts(bytes([n]) * 16, "default", n == 4, 0, 1000, 10) for n in (1, 2, 3, 4)]
    ledger = MemoryCheckingLedger({pack.id: pack for pack in packs}, {name(1): None, name(2): None}, {name(3)})
    yield Made(ledger)


@contextmanager
def database(directory: Path) -> Iterator[Made]:
    with closing(SqliteDatabase(new_sqlite(directory / "controller.sqlite"))) as store:
        index = RecordingIndex()
        add_hosts(store, "alpha")
        leader = store.write_now(_filled)
        scope = LedgerScope("repository", "job", 0, LEADER)
        yield Made(VerifyLedger(store, scope, lambda: leader, _Ticking(), index), index, store)


@contextmanager
def piped(directory: Path) -> Iterator[Made]:
    with database(directory) as made:
        assert isinstance(made.ledger, VerifyLedger)
        yield replace(made, ledger=PipedVerifyLedger(_Wire(verify_calls(made.ledger)), SkippingClock()))  # type: ignore[arg-type]


class _Ticking(SkippingClock):
    """Each look at it is a moment later."""

    def now_us(self) -> int:
        self.pass_seconds(1)
        return NOW + super().now_us()


class _Wire:
    """The pipe's two ends without the pipe: everything goes through JSON."""

    def __init__(self, calls: Mapping[str, Callable[[dict[str, Any]], Any]]) -> None:
        self._calls = calls

    def ask(self, call: str, **body: Any) -> Any:
        return json.loads(json.dumps(self._calls[call](json.loads(json.dumps(body)))))


def _filled(transaction: Transaction) -> Leader:
    transaction.repositories.add_repository(a_repository())
    for number in (1, 2, 3):
        run = a_run(number, vm_id=VMS.format(number))
        transaction.runs.add_run(run)
        execution = an_execution()
        attempt = replace(execution.attempt, id=f"{execution.attempt.id[:-1]}{number}", run_id=run.id)
        transaction.runs.add_attempt(attempt)
        transaction.points.add_point(a_point(run, attempt.id, seq=number))
        if number < 3:
            transaction.points.make_available(run.id, NOW)
    for number in (1, 2, 3, 4):
        transaction.packs.add_pack(
            a_pack(number, state=PackState.STORED, slots=10, meta=number == 4, reserved_generation=number // 4)
        )
    transaction.packs.add_pack(a_pack(5))
    transaction.jobs.add_job(Job("job", "repository", JobKind.CHECK, JobState.ACTIVE, "{}", NOW))
    return leading(transaction)


def leading(transaction: Transaction) -> Leader:
    held = transaction.leadership.acquire("controller", NOW, 1 << 50)
    assert held is not None
    return held


@pytest.fixture(params=[memory, database, piped], ids=lambda factory: factory.__name__)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    with request.param(tmp_path) as found:
        yield found


def ids(packs: Sequence[PackFacts]) -> list[int]:
    return [pack.id[0] for pack in packs]


def facts(made: Made, number: int) -> PackFacts:
    return made.ledger.packs([bytes([number]) * 16])[bytes([number]) * 16]


def test_points_and_packs_as_they_stand(made: Made) -> None:
    assert list(made.ledger.points()) == [CommittedPoint(name(1), False), CommittedPoint(name(2), False)]
    assert [made.ledger.is_available(name(number)) for number in (1, 3, 4)] == [True, False, False]
    assert [made.ledger.is_known(name(number)) for number in (1, 3, 4)] == [True, True, False]
    other_vm = replace(name(1), vm_id=VMS.format(9))
    assert not made.ledger.is_known(other_vm)
    found = made.ledger.packs([bytes([number]) * 16 for number in (4, 5, 9)])
    assert found == {b"\x04" * 16: PackFacts(b"\x04" * 16, "default", True, 0, 1000, 10)}
    assert made.ledger.totals() == (4, 5000)
    assert ids(made.ledger.oldest(3)) == [1, 2, 3]
    assert list(made.ledger.damaged_packs()) == []


def test_what_was_looked_at_goes_behind_the_rest_whatever_was_found(made: Made) -> None:
    assert made.ledger.proven(facts(made, 2))
    assert made.ledger.flawed(facts(made, 1), SOME)
    assert ids(made.ledger.oldest(9)) == [3, 4, 2, 1]
    assert ids(made.ledger.oldest(9, seen_only=True)) == [2, 1]
    assert ids(made.ledger.oldest(1, seen_only=True)) == [2]
    assert made.ledger.proven(facts(made, 2))
    assert ids(made.ledger.oldest(9)) == [3, 4, 1, 2]
    assert (facts(made, 2).whole, facts(made, 1).whole, facts(made, 3).looked_us) == (True, False, 0)


def test_bad_slots_are_what_was_found_last(made: Made) -> None:
    assert made.ledger.flawed(facts(made, 1), SOME)
    assert made.ledger.flawed(facts(made, 3), SlotSet())
    assert [(pack.id[0], list(pack.bad)) for pack in made.ledger.damaged_packs()] == [(1, [1, 5]), (3, [])]
    assert made.ledger.flawed(facts(made, 1), SlotSet.of((5,)))
    assert list(facts(made, 1).bad) == [5]
    assert made.ledger.proven(facts(made, 1))
    assert made.ledger.proven(facts(made, 3))
    assert list(made.ledger.damaged_packs()) == []
    assert made.ledger.flawed(facts(made, 3), SOME)
    if made.index is not None:
        first, third = b"\x01" * 16, b"\x03" * 16
        assert made.index.told == [
            ("withdraw [1, 5]", first),
            ("anew 0", first),
            ("anew 0", first),
            ("verified", third),
            ("anew 0", third),
        ]


def test_a_healed_pack_is_another_generation_and_what_was_seen_of_the_old_one_says_nothing(made: Made) -> None:
    seen = facts(made, 1)
    assert made.ledger.flawed(seen, SOME)
    first = made.ledger.reserve(seen, 0)
    second = made.ledger.reserve(seen, 7)
    assert (first, second) == (1, 8)
    assert made.ledger.reserve(facts(made, 4), 0) == 2, "the two copies of a meta pack are an even number and the next"
    assert made.ledger.reserve(facts(made, 4), 0) == 4
    assert seen.bytes_hash == seen.id
    assert made.ledger.healed(seen, 8, 900, b"h" * 16)
    now = facts(made, 1)
    assert (now.generation, now.size_bytes, now.whole, list(now.bad)) == (8, 900, True, [])
    assert now.bytes_hash == b"h" * 16
    assert not made.ledger.proven(seen)
    assert not made.ledger.flawed(seen, SOME)
    assert made.ledger.reserve(seen, 0) is None
    assert not made.ledger.healed(seen, 9, 900, b"")
    assert facts(made, 1) == now
    if made.index is not None:
        assert made.index.told[-1] == ("anew 8", b"\x01" * 16)


def test_a_pack_that_nobody_knows_cannot_be_judged(made: Made) -> None:
    unknown = PackFacts(b"\x09" * 16, "default", False, 0, 1000, 10)
    assert not made.ledger.proven(unknown)
    assert not made.ledger.flawed(unknown, SOME)
    assert made.ledger.reserve(unknown, 0) is None


def test_damage_of_a_point_comes_and_goes(made: Made) -> None:
    made.ledger.damage(name(2), DAMAGE)
    assert [point.damaged for point in made.ledger.points()] == [False, True]
    made.ledger.damage(name(2), None)
    assert [point.damaged for point in made.ledger.points()] == [False, False]


def test_points_are_due_until_somebody_looked_at_them(made: Made) -> None:
    ledger = made.ledger
    assert [each.name for each in ledger.unproven(9)] == [name(1), name(2)]
    assert [each.name for each in ledger.unproven(1)] == [name(1)]
    assert {each.sibling for each in ledger.unproven(9)} == {None}
    ledger.proved(name(1), True)
    ledger.proved(name(2), False)
    assert ledger.unproven(9) == []
    assert [each.name for each in ledger.unproven(9, again=True)] == [name(2)]


def test_a_damaged_point_is_not_due_and_a_healed_one_is_again(made: Made) -> None:
    ledger = made.ledger
    ledger.damage(name(1), DAMAGE)
    assert [each.name for each in ledger.unproven(9)] == [name(2)]
    ledger.proved(name(1), False)
    ledger.damage(name(1), None)
    assert [each.name for each in ledger.unproven(9)] == [name(1), name(2)]


def test_only_what_is_proven_and_undamaged_is_shown_as_verified(tmp_path: Path) -> None:
    with piped(tmp_path) as made:
        ledger = made.ledger

        def shown() -> list[bool]:
            return [_point(made, number).verified for number in (1, 2, 3)]

        for number in (1, 2, 3):
            ledger.proved(name(number), number != 2)
        assert shown() == [True, False, False], "the third is no point yet"
        ledger.damage(name(1), DAMAGE)
        assert shown() == [False, False, False]
        ledger.damage(name(1), None)
        assert shown() == [True, False, False]
        assert made.database is not None
        assert made.database.read_now(lambda transaction: transaction.points.totals()).verified == 1


def test_when_a_point_was_read_back_is_kept_and_since_when_it_is_verified_too(tmp_path: Path) -> None:
    with piped(tmp_path) as made:
        made.ledger.proved(name(1), True, NOW - 5)
        first = _point(made, 1)
        assert first.read_us == NOW - 5 and first.checked_us == first.verified_us > NOW
        made.ledger.proved(name(1), True, NOW - 3)
        again = _point(made, 1)
        assert (again.read_us, again.verified_us) == (
            NOW - 3,
            first.verified_us,
        ) and again.checked_us > first.checked_us
        made.ledger.proved(name(1), False)
        failed = _point(made, 1)
        assert (failed.verified_us, failed.read_us) == (-failed.checked_us, failed.checked_us)
        made.ledger.proved(name(3), True, NOW)
        assert (_point(made, 3).read_us, _point(made, 3).checked_us) == (0, 0), "it is no point yet"


def test_the_damage_that_is_kept(tmp_path: Path) -> None:
    with piped(tmp_path) as made:
        made.ledger.damage(name(2), DAMAGE)
        made.ledger.damage(name(3), DAMAGE)
        kept, publishing = (_point(made, number).damaged for number in (2, 3))
        told = json.loads(kept)
        assert told.pop("since_us") > NOW
        assert told == {
            "chunks": 3,
            "bytes": 65536,
            "packs": ["01" * 16],
            "packs_total": 1,
            "disks": {"vda": [[0, 65536], [1 << 20, 4096]]},
        }
        assert publishing == "", "it is no point yet"


def test_progress_is_shown_and_a_cancelled_job_ends(tmp_path: Path) -> None:
    with database(tmp_path) as made:
        made.ledger.progress(Progress("packs", packs_done=3, bytes_done=40, bytes_total=100))
        made.ledger.may_continue()
        job = _job(made)
        shown = json.loads(job.progress)
        assert (shown["phase"], shown["done"], shown["total"], shown["unit"]) == ("packs", 40, 100, "bytes")
        assert made.database is not None
        made.database.write_now(lambda all: all.jobs.save_job(job, replace(job, cancel_us=1)))
        with pytest.raises(LedgerRefused) as caught:
            made.ledger.may_continue()
        assert caught.value.reason == "CANCELED"


def test_marks_are_ordered_against_publications(tmp_path: Path) -> None:
    """By the row that validation begins with: a hand-in validated after a mark sees it (rules 2 and 7)."""
    with database(tmp_path) as made:
        before = _publications(made)
        made.ledger.flawed(facts(made, 1), SOME)
        made.ledger.proven(facts(made, 2))
        assert _publications(made) == before + 2


def test_nothing_changes_once_another_leads(tmp_path: Path) -> None:
    with database(tmp_path) as made:
        seen = facts(made, 1)
        assert made.ledger.leader() == LEADER
        assert made.database is not None
        made.database.write_now(leading)
        steps: list[Callable[[], object]] = [
            lambda: made.ledger.proven(seen),
            lambda: made.ledger.flawed(seen, SOME),
            lambda: made.ledger.reserve(seen, 0),
            lambda: made.ledger.healed(seen, 1, 900, b""),
            lambda: made.ledger.damage(name(1), DAMAGE),
            lambda: made.ledger.proved(name(1), True),
            made.ledger.may_continue,
        ]
        for step in steps:
            with pytest.raises(LedgerRefused) as caught:
                step()
            assert caught.value.reason == "NOT_LEADER"
        assert facts(made, 1) == seen
        assert _point(made, 1).state is PointState.AVAILABLE
        assert _point(made, 1).damaged == ""


def _publications(made: Made) -> int:
    assert made.database is not None
    return made.database.read_now(lambda transaction: transaction.leadership.publications("repository"))


def _point(made: Made, number: int) -> Point:
    assert made.database is not None
    found = made.database.read_now(lambda transaction: transaction.points.point(a_run(number).id))
    assert found is not None
    return found


def _job(made: Made) -> Job:
    assert made.database is not None
    found = made.database.read_now(lambda transaction: transaction.jobs.job("job"))
    assert found is not None
    return found
