"""What an attempt shows long before its end, and the circuit breakers that closes: the rule, and the heartbeats that bring it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.admission.breaker import FAILURES
from seawall.controller.admission.breakers import Proofs
from seawall.controller.admission.proofs import Proof, proof_of, refutes
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.records.limits import Breaker, Scope, ScopeKey
from seawall.controller.records.runs import AttemptState, DiskProgress, Progress, ReadMethod, RunKind
from seawall.controller.runs.events import Moment
from seawall.controller.runs.machine import Execution
from seawall.controller.scheduler.executions import Change
from seawall.controller.services.heartbeats import Said, beat_together
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.controller_records import HOUR, NOW, a_repository, a_restore, a_session, an_execution
from support.enrolled_hosts import add_hosts
from support.sqlite_template import new_sqlite

HOST = ScopeKey(Scope.HOST, "alpha")
STORE = ScopeKey(Scope.REPOSITORY, "repository")
TRANSFERRING, PREPARING = AttemptState.TRANSFERRING, AttemptState.PREPARING


def broken(where: ScopeKey, reason: str, failures: int = FAILURES) -> Breaker:
    return Breaker(where.scope, where.key, failures, NOW - HOUR, reason, "it broke")


def reported(seq: int, state: AttemptState = TRANSFERRING, read: int = 0, stored: int = 0) -> Progress:
    disk = DiskProgress("vda", 1 << 30, 1 << 30, read, 0, stored, ReadMethod.FULL, "", False)
    return Progress(seq, state, "at work", (disk,), "", "", 0, 0)


def restoring(state: AttemptState) -> Execution:
    run = a_restore(state=an_execution().run.state, current_attempt=an_execution().attempt.id, attempt_count=1)
    return Execution(run, an_execution(state).attempt)


@pytest.mark.parametrize(
    ("proof", "where", "reason", "closes"),
    [
        (Proof.STORED, STORE, "STORE_UNAVAILABLE", True),
        (Proof.STORED, STORE, "STORE_FULL", True),
        (Proof.STORED, HOST, "STORE_UNAVAILABLE", True),
        (Proof.STORED, HOST, "WORKER_EXITED", False),
        (Proof.FETCHED, STORE, "STORE_UNAVAILABLE", True),
        (Proof.FETCHED, STORE, "STORE_FULL", False),
        (Proof.FETCHED, HOST, "STORE_UNAVAILABLE", True),
        (Proof.PREPARED, HOST, "PREPARE_TIMEOUT", True),
        (Proof.PREPARED, HOST, "STORE_UNAVAILABLE", False),
        (Proof.PREPARED, HOST, "WORKER_EXITED", False),
        (Proof.PREPARED, STORE, "STORE_UNAVAILABLE", False),
    ],
)
def test_each_proof_refutes_what_the_breaker_stands_for_and_nothing_else(
    proof: Proof, where: ScopeKey, reason: str, closes: bool
) -> None:
    assert refutes(proof, broken(where, reason)) is closes


def test_failures_that_keep_nobody_waiting_are_left_to_the_ends_of_attempts() -> None:
    """A store that loses every other attempt stores packs in between, and is to open its breaker all the same."""
    assert not refutes(Proof.STORED, broken(STORE, "STORE_UNAVAILABLE", FAILURES - 1))


def test_only_bytes_of_the_store_show_that_it_answers_a_restore() -> None:
    before, after = restoring(TRANSFERRING), restoring(TRANSFERRING)
    assert proof_of(before, after, reported(1, stored=7), reported(2, read=9, stored=7)) is None
    assert proof_of(before, after, reported(1, stored=7), reported(2, stored=8)) is Proof.FETCHED
    assert proof_of(before, after, None, reported(1, stored=8)) is Proof.FETCHED
    assert proof_of(before, restoring(PREPARING), None, reported(1, stored=8)) is None


def test_a_backup_shows_once_that_its_host_can_prepare_also_when_it_was_lost_meanwhile() -> None:
    working, preparing = an_execution(TRANSFERRING), an_execution(PREPARING)
    assert proof_of(preparing, working, None, reported(1)) is Proof.PREPARED
    lost = replace(preparing, attempt=replace(preparing.attempt, state=AttemptState.LOST, lost_from=PREPARING))
    assert proof_of(lost, working, None, reported(1)) is Proof.PREPARED
    assert proof_of(working, working, reported(1), reported(2, read=9, stored=9)) is None
    fenced = replace(working, run=replace(working.run, current_attempt="another"))
    assert proof_of(preparing, fenced, None, reported(1)) is None


class _Counting:
    """The limits of a transaction, as far as `Proofs` asks."""

    def __init__(self, *breakers: Breaker) -> None:
        self.rows = {ScopeKey(each.scope, each.key): each for each in breakers}
        self.reads = self.writes = 0

    @property
    def limits(self) -> "_Counting":
        return self

    def breakers(self) -> list[Breaker]:
        self.reads += 1
        return list(self.rows.values())

    def save_breaker(self, breaker: Breaker) -> None:
        self.writes += 1
        assert not breaker.failures
        del self.rows[ScopeKey(breaker.scope, breaker.key)]


def test_many_proofs_of_one_transaction_cost_one_read_and_what_is_closed_is_written_once() -> None:
    calm = _Counting(broken(STORE, "STORE_UNAVAILABLE", FAILURES - 1))
    away = _Counting(broken(STORE, "STORE_UNAVAILABLE"), broken(HOST, "WORKER_EXITED"))
    for rows in (calm, away):
        proofs = Proofs(rows)  # type: ignore[arg-type]
        for _ in range(100):
            proofs.note(an_execution(TRANSFERRING), Proof.STORED)
    assert (calm.reads, calm.writes, list(calm.rows)) == (1, 0, [STORE])
    assert (away.reads, away.writes, list(away.rows)) == (1, 1, [HOST])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    """With the host, its session and the repository."""
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as opened:
        add_hosts(opened, "alpha")
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        opened.write_now(lambda transaction: transaction.fleet.open_session(a_session()))
        yield opened


def left(database: SqliteDatabase, execution: Execution, progress: Progress, *breakers: Breaker) -> list[ScopeKey]:
    """The breakers that a heartbeat leaves."""

    def begin(transaction: Transaction) -> None:
        transaction.runs.add_run(execution.run)
        transaction.runs.add_attempt(execution.attempt)
        for breaker in breakers:
            transaction.limits.save_breaker(breaker)

    said = Said("alpha", "session", {execution.attempt.id: progress})
    database.write_now(begin)
    database.write_now(
        lambda transaction: beat_together(Change(transaction), [said], Moment(NOW, Timings()), NOW + HOUR)
    )
    found = database.read_now(lambda transaction: transaction.limits.breakers())
    return [ScopeKey(each.scope, each.key) for each in found]


def test_a_heartbeat_of_a_restore_that_fetches_closes_the_repositorys_breaker(database: SqliteDatabase) -> None:
    execution = restoring(TRANSFERRING)
    assert execution.run.kind is RunKind.RESTORE
    away, sick = broken(STORE, "STORE_UNAVAILABLE"), broken(HOST, "WORKER_EXITED")
    assert left(database, execution, reported(1, stored=8), away, sick) == [HOST]


def test_a_heartbeat_of_a_backup_past_preparing_closes_its_hosts_breaker_alone(database: SqliteDatabase) -> None:
    stuck, away = broken(HOST, "PREPARE_TIMEOUT"), broken(STORE, "STORE_UNAVAILABLE")
    assert left(database, an_execution(PREPARING), reported(1), stuck, away) == [STORE]
