"""The contract of the controller's Store, on every engine of support.controller_databases."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from seawall.controller.database.database import Database
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.database.tables import metadata
from seawall.controller.errors import (
    Aborted,
    AlreadyExists,
    ControllerError,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from seawall.controller.records.answers import Asked
from seawall.controller.records.catalogue import PackState, Point, PointState, PointTotals, RepositoryRecord
from seawall.controller.records.fleet import News, Vm
from seawall.controller.records.leadership import Leader
from seawall.controller.records.runs import (
    OPEN_RUN_STATES,
    AttemptState,
    DiskProgress,
    Progress,
    ReadMethod,
    RunCounts,
    RunFilter,
    RunState,
    RunWarning,
)
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.format.slot_set import SlotSet
from support.controller_databases import SCHEMAS, open_engine
from support.controller_records import (
    NOW,
    a_failure,
    a_pack,
    a_point,
    a_repository,
    a_restore,
    a_run,
    a_session,
    a_vm,
    an_execution,
)
from support.enrolled_hosts import add_hosts
from support.stored_packs import stored_packs


@pytest.fixture(params=SCHEMAS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With hosts alpha and beta, and a repository."""
    with open_engine(request.param, request, tmp_path) as made:
        add_hosts(made, "alpha", "beta")
        made.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield made


def first_run(transaction: Transaction) -> None:
    execution = an_execution()
    transaction.runs.add_run(execution.run)
    transaction.runs.add_attempt(execution.attempt)


def reason(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def test_a_write_is_whole_or_nothing(store: Store) -> None:
    def half(transaction: Transaction) -> None:
        transaction.runs.add_run(a_run())
        raise InvalidArgument("STOP", "in the middle")

    assert reason(lambda: store.write_now(half), InvalidArgument) == "STOP"
    assert store.read_now(lambda transaction: transaction.runs.run(a_run().id)) is None


def test_a_read_sees_one_moment_and_never_waits_for_a_writer(store: Store) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(transaction: Transaction) -> None:
        transaction.runs.add_run(a_run())
        begun.set()
        assert finish.wait(10)

    writer = threading.Thread(target=store.write_now, args=(slow,))
    writer.start()
    assert begun.wait(10)
    assert store.read_now(lambda transaction: transaction.runs.run(a_run().id)) is None
    finish.set()
    writer.join()
    assert store.read_now(lambda transaction: transaction.runs.run(a_run().id)) == a_run()


async def test_the_event_loops_calls_are_the_same(store: Store) -> None:
    await store.write(lambda transaction: transaction.runs.add_run(a_run()))
    assert await store.read(lambda transaction: transaction.runs.run(a_run().id)) == a_run()


@pytest.mark.parametrize("run", [a_run(warnings=(RunWarning("A", "b"),), failure=a_failure()), a_restore()])
def test_runs_come_back_as_they_were(store: Store, run: object) -> None:
    assert isinstance(run, type(a_run()))
    store.write_now(lambda transaction: transaction.runs.add_run(run))
    assert store.read_now(lambda transaction: transaction.runs.run(run.id)) == run


def test_saving_compares_and_swaps(store: Store) -> None:
    store.write_now(first_run)
    before = an_execution()
    run = replace(before.run, blocked_on="x")
    attempt = replace(before.attempt, state=AttemptState.LOST, lost_from=AttemptState.PREPARING, failure=a_failure())
    saved = store.write_now(
        lambda transaction: (
            transaction.runs.save_run(before.run, run),
            transaction.runs.save_attempt(before.attempt, attempt),
        )
    )
    assert saved == (replace(run, version=2), replace(attempt, version=2))
    assert store.read_now(lambda transaction: transaction.runs.attempt(attempt.id)) == saved[1]
    for stale in (
        lambda transaction: transaction.runs.save_run(before.run, replace(run, blocked_on="y")),
        lambda transaction: transaction.runs.save_attempt(before.attempt, replace(attempt, ended_us=5)),
    ):
        assert reason(lambda stale=stale: store.write_now(stale), Aborted) == "CHANGED"  # type: ignore[misc]
    same = store.write_now(lambda transaction: transaction.runs.save_run(saved[0], saved[0]))
    assert same.version == 2, "nothing changed, nothing written"


def test_lists_of_runs(store: Store) -> None:
    runs = [
        a_run(1, state=RunState.FAILED, ended_us=NOW),
        a_run(2, not_before_us=NOW + 1, policy_id="nightly", nominal_us=NOW),
        a_run(3, vm_id="vm-2", policy_id="nightly", nominal_us=NOW),
        a_restore(4),
    ]
    for run in runs:
        store.write_now(lambda transaction, run=run: transaction.runs.add_run(run))  # type: ignore[misc]

    def ids(closure: Callable[[Transaction], object]) -> list[int]:
        found = store.read_now(closure)
        assert isinstance(found, list)
        return [int(run.id[-2:]) for run in found]

    assert ids(lambda transaction: transaction.runs.runs()) == [4, 3, 2, 1]
    assert ids(lambda transaction: transaction.runs.runs(before=runs[2].id, limit=1)) == [2]
    for wanted, expected in (
        (RunFilter(vm_id="vm-2"), [3]),
        (RunFilter(policy_id="nightly"), [3, 2]),
        (RunFilter(vm_id="vm-2", policy_id="weekly"), []),
        (RunFilter(states=OPEN_RUN_STATES), [4, 3, 2]),
        (RunFilter(states=(RunState.FAILED, RunState.CANCELED)), [1]),
        (RunFilter(states=(RunState.FAILED, RunState.READY, RunState.FAILED)), [4, 3, 2, 1]),
        (RunFilter(policy_id="nightly", states=(RunState.FAILED,)), []),
        (RunFilter(policy_id="nightly", since_us=NOW + 1), [3, 2]),
        (RunFilter(states=(RunState.FAILED,), since_us=NOW), [1]),
        (RunFilter(states=(RunState.FAILED,), since_us=NOW + 1), []),
        (RunFilter(since_us=NOW), [4, 3, 2, 1]),
        (RunFilter(since_us=NOW + 1), [4, 3, 2]),
    ):
        assert ids(lambda transaction, wanted=wanted: transaction.runs.runs(wanted)) == expected, wanted  # type: ignore[misc]
    every = RunFilter(states=(RunState.FAILED, RunState.READY))
    assert ids(lambda transaction: transaction.runs.runs(every, limit=3)) == [4, 3, 2], "of all states, the newest"
    assert ids(lambda transaction: transaction.runs.runs(every, before=runs[2].id, limit=3)) == [2, 1]
    assert store.read_now(lambda transaction: transaction.runs.marks(NOW)).keys() == {run.id for run in runs}
    assert store.read_now(lambda transaction: transaction.runs.marks(NOW + 1)).keys() == {run.id for run in runs[1:]}
    assert store.read_now(lambda transaction: transaction.runs.counts(NOW)) == RunCounts(0, 3, 1)
    assert store.read_now(lambda transaction: transaction.runs.counts(NOW + 1)) == RunCounts(0, 3, 0)
    assert ids(lambda transaction: transaction.runs.ready(NOW)) == [3, 4]
    assert ids(lambda transaction: transaction.runs.runs_named(runs[2].id)) == [3]
    assert ids(lambda transaction: transaction.runs.runs_named(runs[2].id[:8])) == [1, 2, 3, 4]
    assert ids(lambda transaction: transaction.runs.runs_named(runs[2].id[:7])) == []
    opened = store.read_now(lambda transaction: transaction.runs.open_backup("vm-2", "repository"))
    assert opened == runs[2]
    assert store.read_now(lambda transaction: transaction.runs.open_backup("vm-3", "repository")) is None


def test_progress_only_goes_on(store: Store) -> None:
    store.write_now(first_run)
    attempt_id = an_execution().attempt.id
    disk = DiskProgress("vda", 9, 8, 7, 6, 5, ReadMethod.FULL, "because", False)
    newer = Progress(2, AttemptState.TRANSFERRING, "reading vda", (disk,), "S3", "store", 1000, 60)
    for progress in (newer, replace(newer, seq=1, phase="old")):
        store.write_now(lambda transaction, each=progress: transaction.runs.save_progress(attempt_id, each, NOW))  # type: ignore[misc]
    assert store.read_now(lambda transaction: transaction.runs.progress_of([attempt_id, "x"])) == {attempt_id: newer}


def test_live_attempts_by_host(store: Store) -> None:
    store.write_now(first_run)
    live = store.read_now(lambda transaction: transaction.runs.live_attempts("alpha"))
    assert [attempt.id for attempt in live] == [an_execution().attempt.id]
    assert store.read_now(lambda transaction: transaction.runs.live_attempts("beta")) == []


def test_the_leaders_lease(store: Store) -> None:
    def acquire(holder: str, now_us: int) -> Leader | None:
        return store.write_now(lambda transaction: transaction.leadership.acquire(holder, now_us, 10))

    first = acquire("one", 100)
    assert first == Leader("one", 1)
    assert acquire("two", 109) is None
    store.write_now(lambda transaction: transaction.leadership.renew(first, 105, 10))
    assert acquire("two", 110) is None
    second = acquire("two", 115)
    assert second == Leader("two", 2)
    for write in (
        lambda transaction: transaction.leadership.renew(first, 115, 10),
        lambda transaction: transaction.leadership.check(first),
        lambda transaction: transaction.leadership.order_publication(first, "repository"),
        lambda transaction: transaction.leadership.raise_epoch(first, 9),
    ):
        assert reason(lambda write=write: store.write_now(write), Unavailable) == "NOT_LEADER"  # type: ignore[misc]
    store.write_now(lambda transaction: transaction.leadership.order_publication(second, "repository"))
    raised = store.write_now(lambda transaction: transaction.leadership.raise_epoch(second, 900))
    assert raised.epoch == 901
    store.write_now(lambda transaction: transaction.leadership.release(raised))
    assert acquire("three", 116) == Leader("three", 902)


def test_the_databases_epoch(store: Store) -> None:
    assert store.read_now(lambda transaction: transaction.leadership.db_epoch()) == 1
    assert store.write_now(lambda transaction: transaction.leadership.raise_db_epoch()) == 2
    assert store.read_now(lambda transaction: transaction.leadership.db_epoch()) == 2


def test_hosts_and_sessions(store: Store) -> None:
    def change(transaction: Transaction) -> None:
        transaction.fleet.describe_host("alpha", "alpha-1", "2", "QEMU 8")
        transaction.fleet.bump_generation("alpha")
        transaction.fleet.open_session(a_session(session_id="old"))
        transaction.fleet.open_session(a_session())
        transaction.fleet.renew_sessions([("alpha", "old"), ("gone", "session")], 1, 1)
        transaction.fleet.renew_sessions([("alpha", "session")], NOW + 5, NOW + 1)

    store.write_now(change)
    alpha = store.read_now(lambda transaction: transaction.fleet.host("alpha"))
    assert alpha is not None
    assert (alpha.name, alpha.agent_version, alpha.generation, alpha.revoked) == ("alpha-1", "2", 2, False)
    sessions = store.read_now(lambda transaction: transaction.fleet.sessions())
    assert sessions == [replace(a_session(), lease_until_us=NOW + 5, last_seen_us=NOW + 1)]
    named = store.read_now(lambda transaction: transaction.fleet.hosts_named("alpha-1"))
    assert [host.id for host in named] == ["alpha"]
    assert [host.id for host in store.read_now(lambda transaction: transaction.fleet.hosts(after="alpha"))] == ["beta"]


def test_inventories_replace_each_other(store: Store) -> None:
    def report(host_id: str, *vms: object) -> None:
        store.write_now(lambda transaction: transaction.fleet.replace_inventory(host_id, 1, vms))  # type: ignore[arg-type]

    def owner() -> tuple[str, bool]:
        vm = store.read_now(lambda transaction: transaction.fleet.vm("vm-1"))
        assert vm is not None
        return vm.host_id, vm.present

    report("alpha", a_vm(), a_vm("vm-2"))
    assert store.read_now(lambda transaction: transaction.fleet.vm("vm-1")) == a_vm()
    assert store.read_now(lambda transaction: transaction.fleet.vm_counts()) == {"alpha": 2}
    report("beta", a_vm(host_id="beta", state="shut off"))
    assert owner() == ("alpha", True), "alpha runs it, beta only has its definition"
    report("alpha", a_vm(state="shut off"))
    report("beta", a_vm(host_id="beta"))
    assert owner() == ("beta", True), "beta runs it now"
    report("alpha")
    assert owner() == ("beta", True), "what alpha does not report is not alpha's to lose"
    report("beta")
    assert owner() == ("beta", False)
    report("alpha", a_vm(state="shut off"))
    assert owner() == ("alpha", True)
    assert store.read_now(lambda transaction: transaction.fleet.vms(host_id="beta")) == []


def test_sightings_are_the_vms_that_hosts_report_with_what_selections_look_at(store: Store) -> None:
    def report(host_id: str, *vms: Vm) -> None:
        store.write_now(lambda transaction: transaction.fleet.replace_inventory(host_id, 1, vms))

    report("alpha", replace(a_vm(), tags=("prod", "db")), a_vm("vm-2"), a_vm("vm-3"))
    report("beta", a_vm("vm-4", host_id="beta"))
    report("alpha", replace(a_vm(), tags=("prod", "db")), a_vm("vm-2"))
    seen = store.read_now(lambda transaction: sorted(transaction.fleet.sightings()))
    whole = {vm.id: vm for vm in store.read_now(lambda transaction: transaction.fleet.vms())}
    assert [each[0] for each in seen] == ["vm-1", "vm-2", "vm-4"], "vm-3 is not there any more"
    assert seen == [(vm.id, vm.name, vm.host_id, frozenset(vm.tags)) for vm in (whole[each[0]] for each in seen)]
    assert seen[0][3] == {"prod", "db"} and not seen[1][3]


def test_who_takes_over_the_vm_of_another_host(store: Store) -> None:
    """A dead host's VM may be taken by the host that runs it; a VM of a host that is there only if it does not run there."""

    def owner_after(owner_lease_us: int, claimed_state: str) -> str:
        def closure(transaction: Transaction) -> Sequence[str]:
            transaction.fleet.open_session(a_session("alpha", lease_until_us=owner_lease_us))
            transaction.fleet.replace_inventory("beta", 1, [])
            transaction.fleet.replace_inventory("alpha", 1, [a_vm()])
            news = transaction.fleet.replace_inventory("beta", 1, [a_vm(host_id="beta", state=claimed_state)])
            vm = transaction.fleet.vm("vm-1")
            assert vm is not None
            assert news == (News(("vm-1",), True) if vm.host_id == "beta" else News((), False))
            return [vm.host_id]

        (owner,) = store.write_now(closure)
        return owner

    assert owner_after(NOW + 1, "running") == "alpha"
    assert owner_after(NOW - 1, "shut off") == "alpha"
    assert owner_after(NOW - 1, "running") == "beta"


def test_numbers_that_no_column_holds_are_the_callers_fault(store: Store) -> None:
    huge = lambda transaction: transaction.fleet.replace_inventory("alpha", 1 << 63, [a_vm()])  # noqa: E731
    assert reason(lambda: store.write_now(huge), InvalidArgument) == "BAD_NUMBER"


def test_a_damaged_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "controller.sqlite").write_bytes(b"this is no database" * 1000)
    assert reason(lambda: SqliteDatabase(tmp_path / "controller.sqlite"), DataLoss) == "DATABASE_DAMAGED"


def test_a_full_disk_refuses_and_then_goes_on(tmp_path: Path) -> None:
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        add_hosts(database, "alpha", "beta")

        def limit(pages: int) -> None:
            database.write_sql(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}"))

        def fill(transaction: Transaction) -> None:
            for number in range(2000):
                transaction.repositories.add_secret(f"secret-{number}", bytes(4096))

        limit(60)
        for _ in range(2):
            assert reason(lambda: database.write_now(fill), ResourceExhausted) == "DATABASE_FULL"
        limit(100_000)
        database.write_now(fill)
        assert database.read_now(lambda transaction: transaction.repositories.secret("secret-1999")) == bytes(4096)


def test_points_from_intent_to_available(store: Store) -> None:
    store.write_now(first_run)
    point = a_point(a_run(), an_execution().attempt.id)
    store.write_now(lambda transaction: transaction.points.add_point(point))
    assert store.read_now(lambda transaction: transaction.points.point(point.id)) == point
    assert store.read_now(lambda transaction: transaction.points.unfinished()) == {point.id: point.repository_id}
    assert store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository")) is None
    store.write_now(lambda transaction: transaction.points.make_available(point.id, NOW + 9))
    done = replace(point, state=PointState.AVAILABLE, published_us=NOW + 9, intent=None)
    assert store.read_now(lambda transaction: transaction.points.point(point.id)) == done
    assert store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository")) == done
    many = [f"vm-{number}" for number in range(1200)]
    assert store.read_now(lambda transaction: transaction.points.newest_of_vms(many)) == {"vm-1": done}
    assert store.read_now(lambda transaction: transaction.points.newest_of_vms(["vm-2"])) == {}
    assert store.read_now(lambda transaction: transaction.points.points(vm_id="vm-1")) == [done]
    assert store.read_now(lambda transaction: transaction.points.points(before=point.id)) == []
    assert store.read_now(lambda transaction: transaction.points.points(repository_id="other")) == []
    assert store.read_now(lambda transaction: transaction.points.totals()) == PointTotals(1, 1 << 30, 1, NOW)
    again = lambda transaction: transaction.points.make_available(point.id, NOW)  # noqa: E731
    assert reason(lambda: store.write_now(again), Aborted) == "CHANGED"


def test_a_point_that_was_given_up_is_nowhere_listed(store: Store) -> None:
    store.write_now(first_run)
    point = a_point(a_run(), an_execution().attempt.id)
    store.write_now(lambda transaction: transaction.points.add_point(point))
    store.write_now(lambda transaction: transaction.points.give_up(point.id))
    kept = store.read_now(lambda transaction: transaction.points.point(point.id))
    assert kept == replace(point, state=PointState.FAILED, intent=None)

    def listed(transaction: Transaction) -> list[object]:
        points = transaction.points
        return [*points.points(), *points.points_named(point.id), *points.unfinished(), *points.newest_of_vms(["vm-1"])]

    assert store.read_now(listed) == []
    assert store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository")) is None
    assert store.read_now(lambda transaction: transaction.points.totals()) == PointTotals(0, 0, 0, 0)


def test_the_newest_point_is_the_one_published_last_whatever_its_id(store: Store) -> None:
    """The clock went back between the two: the later run has the smaller id."""

    def closure(transaction: Transaction) -> None:
        for number in (7, 1):
            run = a_run(number, state=RunState.SUCCEEDED)
            attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id)
            transaction.runs.add_run(run)
            transaction.runs.add_attempt(attempt)
            seq = transaction.leadership.order_publication(Leader("one", 1), run.repository_id)
            transaction.points.add_point(a_point(run, attempt.id, seq=seq))
            transaction.points.make_available(run.id, NOW)

    store.write_now(lambda transaction: transaction.leadership.acquire("one", NOW, 1))
    store.write_now(closure)
    newest = store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository"))
    assert newest is not None
    assert (newest.id, newest.seq) == (a_run(1).id, 2)


def test_the_newest_point_of_one_tenant(store: Store) -> None:
    def closure(transaction: Transaction) -> None:
        for number, tenant in ((1, "acme"), (2, "default")):
            run = a_run(number, state=RunState.SUCCEEDED, tenant=tenant)
            attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id)
            transaction.runs.add_run(run)
            transaction.runs.add_attempt(attempt)
            transaction.points.add_point(replace(a_point(run, attempt.id, seq=number), tenant=tenant))
            transaction.points.make_available(run.id, NOW)

    store.write_now(closure)

    def newest(tenant: str) -> Point | None:
        return store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository", tenant))

    found = [newest(tenant) for tenant in ("acme", "default", "", "globex")]
    assert [point and point.tenant for point in found] == ["acme", "default", "default", None]


def test_a_creation_is_begun_once_and_ends(store: Store) -> None:
    def begin(sealed: bytes) -> bytes:
        return store.write_now(lambda transaction: transaction.repositories.begin_creation("file:///b", sealed))

    assert [begin(b"first"), begin(b"second")] == [b"first", b"first"]
    assert store.read_now(lambda transaction: transaction.repositories.creation("file:///b")) == b"first"
    for _ in range(2):
        store.write_now(lambda transaction: transaction.repositories.end_creation("file:///b"))
    assert store.read_now(lambda transaction: transaction.repositories.creation("file:///b")) is None


def test_runs_are_counted_by_what_they_do(store: Store) -> None:
    def closure(transaction: Transaction) -> None:
        for number, state in enumerate((RunState.READY, RunState.READY, RunState.ACTIVE, RunState.SUCCEEDED)):
            transaction.runs.add_run(a_run(number, vm_id=f"vm-{number}", state=state))
        for number, ended_us in ((8, NOW - 5), (9, NOW)):
            transaction.runs.add_run(a_run(number, state=RunState.FAILED, ended_us=ended_us))

    store.write_now(closure)
    assert store.read_now(lambda transaction: transaction.runs.counts(NOW)) == RunCounts(1, 2, 1)


def test_packs_from_open_to_stored_or_void(store: Store) -> None:
    store.write_now(first_run)
    opened, stored, void = a_pack(1), a_pack(2, meta=True, condemned=SlotSet.of((1, 5))), a_pack(3)
    for pack in (opened, stored, void):
        store.write_now(lambda transaction, pack=pack: transaction.packs.add_pack(pack))  # type: ignore[misc]
    mark = lambda transaction: transaction.packs.mark_stored("repository", stored.id, 500, 7)  # noqa: E731
    give_up = lambda transaction: transaction.packs.void("repository", void.id)  # noqa: E731
    assert [store.write_now(mark), store.write_now(mark)] == [True, False]
    assert [store.write_now(give_up), store.write_now(give_up)] == [True, False]
    late = lambda transaction: transaction.packs.mark_stored("repository", void.id, 1, 1)  # noqa: E731
    assert store.write_now(late) is False, "void is for ever"
    ids = [bytes([number]) * 16 for number in range(1, 200)]
    found = store.read_now(lambda transaction: transaction.packs.packs("repository", ids * 6))
    expected = replace(stored, state=PackState.STORED, size_bytes=500, slots=7)
    assert found == {opened.id: opened, stored.id: expected, void.id: replace(void, state=PackState.VOID)}
    assert store.read_now(lambda transaction: stored_packs(transaction, "repository")) == [expected]
    totals = store.read_now(lambda transaction: transaction.repositories.totals("repository"))
    assert (totals.points, totals.packs, totals.stored_bytes) == (0, 1, 1000), "a meta pack is stored twice"


def test_repositories_and_secrets(store: Store) -> None:
    assert store.read_now(lambda transaction: transaction.repositories.repository("repository")) == a_repository()
    twin = lambda transaction: transaction.repositories.add_repository(a_repository(repository_id="other"))  # noqa: E731
    assert reason(lambda: store.write_now(twin), AlreadyExists) == "NAME_TAKEN"
    store.write_now(lambda transaction: transaction.repositories.add_secret("s", b"sealed"))
    assert store.read_now(lambda transaction: transaction.repositories.secret("s")) == b"sealed"
    assert store.read_now(lambda transaction: transaction.repositories.secret("none")) is None
    found = store.read_now(lambda transaction: transaction.repositories.repositories_named("main"))
    assert found == store.read_now(lambda transaction: transaction.repositories.repositories()) == [a_repository()]


def test_repositories_come_in_pages_by_name(store: Store) -> None:
    more = [a_repository(name, f"repository-{name}") for name in ("alpha", "Zulu", "omega")]
    for record in more:
        store.write_now(lambda transaction, each=record: transaction.repositories.add_repository(each))  # type: ignore[misc]
    alpha, zulu, omega = more

    def page(after: str, limit: int) -> Sequence[RepositoryRecord]:
        return store.read_now(lambda transaction: transaction.repositories.repositories(after, limit))

    assert page("", 2) == [zulu, alpha]
    assert page("alpha", 2) == [a_repository(), omega]
    assert page("omega", 2) == []


def test_answers_are_remembered_for_a_while(store: Store) -> None:
    def ask(method: str = "Start", said: str = "said", request_id: str = "r1") -> str | None:
        asked = Asked(method, request_id, said)
        return store.read_now(lambda transaction: transaction.answers.answer("me", asked))

    first, older = Asked("Start", "r1", "said"), Asked("Start", "r0")
    store.write_now(lambda transaction: transaction.answers.remember("me", first, "run-1", NOW + 5))
    assert ask() == "run-1"
    assert reason(lambda: ask("Stop"), InvalidArgument) == "REQUEST_ID_REUSED"
    assert reason(lambda: ask(said="otherwise"), InvalidArgument) == "REQUEST_ID_REUSED"
    store.write_now(lambda transaction: transaction.answers.remember("me", older, "run-0", NOW + 5))
    assert ask(request_id="r0") == "run-0", "what an older version remembered says nothing of the request"
    store.write_now(lambda transaction: transaction.answers.forget(NOW + 4))
    assert ask() == "run-1"
    store.write_now(lambda transaction: transaction.answers.forget(NOW + 5))
    assert ask() is None


def test_sqlite_lets_one_controller_in_and_keeps_what_it_wrote(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    with closing(SqliteDatabase(file)) as first:
        add_hosts(first, "alpha", "beta")
        assert reason(lambda: SqliteDatabase(file), FailedPrecondition) == "DATABASE_IN_USE"
    with closing(SqliteDatabase(file)) as second:
        assert len(second.read_now(lambda transaction: transaction.fleet.hosts())) == 2
        pragmas = second.read_sql(
            lambda connection: [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        )
    assert pragmas == ["wal", 2, 1]


def test_sqlite_refuses_the_schema_of_a_newer_seawall(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    SqliteDatabase(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert reason(lambda: SqliteDatabase(file), FailedPrecondition) == "SCHEMA_TOO_NEW"


def test_migrations_make_exactly_the_tables_that_the_code_names(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    SqliteDatabase(file).close()
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []
