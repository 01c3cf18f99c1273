"""What `Store.write` promises when many write at once: some serial order, on each engine."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.errors import InvalidArgument
from seawall.controller.store.transaction import Transaction
from support.controller_databases import ENGINES, open_engine
from support.controller_records import a_repository, a_run

THREADS = 8


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with open_engine(request.param, request, tmp_path) as made:
        made.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield made


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """What they return, all begun at the same moment."""
    begin = threading.Barrier(len(calls))

    def body(call: Callable[[], object]) -> object:
        begin.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(body, calls))


def test_what_a_closure_read_is_so_when_it_commits(store: Database) -> None:
    """Each adds a run while there are fewer than three: on rows that none of them shares with another."""

    def add(number: int) -> bool:
        def closure(transaction: Transaction) -> bool:
            if len(transaction.runs.runs()) >= 3:
                return False
            transaction.runs.add_run(a_run(number, vm_id=f"vm-{number}"))
            return True

        return store.write_now(closure)

    added = at_once([lambda number=number: add(number) for number in range(THREADS)])  # type: ignore[misc]
    assert added.count(True) == 3
    assert len(store.read_now(lambda transaction: transaction.runs.runs())) == 3


def test_two_that_each_read_what_the_other_writes_do_not_both_commit(store: Database) -> None:
    """Write skew: with snapshots alone both would find the other's run absent."""

    def add(mine: int, other: int) -> bool:
        def closure(transaction: Transaction) -> bool:
            if transaction.runs.run(a_run(other).id) is not None:
                return False
            transaction.runs.add_run(a_run(mine, vm_id=f"vm-{mine}"))
            return True

        return store.write_now(closure)

    for pair in range(10, 30, 2):
        done = at_once([lambda p=pair: add(p, p + 1), lambda p=pair: add(p + 1, p)])  # type: ignore[misc]
        assert done.count(True) == 1


def test_the_same_row_added_twice_at_once_is_found_by_the_second(store: Database) -> None:
    def begin(number: int) -> bytes:
        return store.write_now(lambda transaction: transaction.repositories.begin_creation("file:///x", b"%d" % number))

    assert len(set(at_once([lambda number=number: begin(number) for number in range(THREADS)]))) == 1  # type: ignore[misc]


def test_counters_count_every_one(store: Database) -> None:
    raised = at_once([lambda: store.write_now(lambda transaction: transaction.leadership.raise_db_epoch())] * THREADS)
    assert sorted(raised) == list(range(2, THREADS + 2))  # type: ignore[type-var]


def test_a_text_that_a_database_cannot_hold_is_the_callers_fault(store: Database) -> None:
    """SQLite keeps it, PostgreSQL does not; neither breaks."""

    def ask(transaction: Transaction) -> object:
        return transaction.fleet.vms_named("a\x00b")

    try:
        assert store.read_now(ask) == []
    except InvalidArgument as error:
        assert error.reason == "BAD_TEXT"


def test_ids_are_found_by_their_beginning_and_pages_go_by_bytes(store: Database) -> None:
    """Whatever language the database was made for: where text sorts as people do, "~" is less than a digit."""
    names = ["Alpha", "alpha", "Beta", "_x", "é"]

    def fill(transaction: Transaction) -> None:
        for number, name in enumerate(names):
            transaction.repositories.add_repository(a_repository(repository_id=f"r{number}", name=name))
        transaction.runs.add_run(a_run(1))

    store.write_now(fill)
    found = store.read_now(lambda transaction: transaction.repositories.repositories())
    assert [each.name for each in found] == sorted([*names, "main"])
    prefix = a_run(1).id[:8]
    assert [run.id for run in store.read_now(lambda transaction: transaction.runs.runs_named(prefix))] == [a_run(1).id]
