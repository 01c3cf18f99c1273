"""The contract of the store's roles for maintenance: pins, jobs, deleted points, what is condemned; and the migration that brought them."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from seawall.controller.database.migrate import SCRIPTS
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Aborted, ControllerError, FailedPrecondition, NotFound
from seawall.controller.maintenance.jobs import begun, cancel_job, start_job
from seawall.controller.maintenance.verify_schedule import Verification, last_jobs
from seawall.controller.records.catalogue import PackState, PointState
from seawall.controller.records.maintenance import Job, JobKind, JobState, Pin, PinKind
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.format.slot_set import SlotSet
from support.controller_clock import ManualClock
from support.controller_databases import SCHEMAS, open_engine
from support.controller_records import NOW, a_pack, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.stored_packs import stored_packs

CLOCK = ManualClock()
ATTEMPT = an_execution().attempt
POINT = a_run().id


@pytest.fixture(params=SCHEMAS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """With host alpha, a repository, a run with its attempt, and the AVAILABLE point that came of it."""
    with open_engine(request.param, request, tmp_path) as database:
        add_hosts(database, "alpha")
        database.write_now(_first)
        yield database


def _first(transaction: Transaction) -> None:
    transaction.repositories.add_repository(a_repository())
    transaction.runs.add_run(a_run(state=RunState.SUCCEEDED))
    transaction.runs.add_attempt(replace(ATTEMPT, state=AttemptState.SUCCEEDED, ended_us=NOW))
    transaction.points.add_point(a_point(a_run(), ATTEMPT.id, state=PointState.AVAILABLE, seq=1, intent=None))


def refused(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def a_pin(holder: str, number: int = 1) -> Pin:
    return Pin(f"pin-{number}", "repository", POINT, holder, PinKind.RESTORE, NOW)


def pins(store: Store) -> list[str]:
    return [pin.id for pin in store.read_now(lambda transaction: transaction.pins.pins_of([POINT]))]


def test_a_pin_counts_while_its_run_is_open(store: Store) -> None:
    run = a_run(2, state=RunState.ACTIVE)
    store.write_now(lambda transaction: transaction.runs.add_run(run))
    for number in (1, 2):
        store.write_now(lambda transaction, n=number: transaction.pins.pin(a_pin(run.id, n)))  # type: ignore[misc]
    assert pins(store) == ["pin-1"], "one for each holder and point"
    assert store.write_now(lambda transaction: transaction.pins.drop_spent("repository")) == 0
    over = replace(run, state=RunState.FAILED)
    store.write_now(lambda transaction: transaction.runs.save_run(run, over))
    assert pins(store) == []
    assert store.write_now(lambda transaction: transaction.pins.drop_spent("repository")) == 1


def test_a_pin_counts_while_its_job_is_open(store: Store) -> None:
    job = Job("job", "repository", JobKind.CHECK, JobState.READY, "{}", NOW)
    store.write_now(lambda transaction: transaction.jobs.add_job(job))
    store.write_now(lambda transaction: transaction.pins.pin(a_pin("job")))
    assert pins(store) == ["pin-1"]
    store.write_now(lambda transaction: cancel_job(transaction, "job", NOW))
    assert pins(store) == []


def test_a_point_that_is_being_deleted_takes_no_pin(store: Store) -> None:
    store.write_now(lambda transaction: transaction.points.begin_delete(POINT, b"tombstone", NOW))

    def pin() -> None:
        store.write_now(lambda transaction: transaction.pins.pin(a_pin("job")))

    assert refused(pin, FailedPrecondition) == "POINT_NOT_AVAILABLE"


def test_a_point_goes_in_two_steps_and_no_list_shows_it(store: Store) -> None:
    def begin() -> None:
        store.write_now(lambda transaction: transaction.points.begin_delete(POINT, b"tombstone", NOW))

    def end() -> None:
        store.write_now(lambda transaction: transaction.points.end_delete(POINT, NOW + 1))

    def roots() -> list[str]:
        return [point.id for point in store.read_now(lambda transaction: transaction.points.roots("repository"))]

    assert refused(end, Aborted) == "CHANGED"
    begin()
    assert refused(begin, Aborted) == "CHANGED"
    point = store.read_now(lambda transaction: transaction.points.point(POINT))
    assert point is not None
    assert (point.state, point.tombstone) == (PointState.DELETING, b"tombstone")
    assert roots() == list(store.read_now(lambda transaction: transaction.points.deleting("repository"))) == [POINT]
    end()
    assert roots() == list(store.read_now(lambda transaction: transaction.points.deleting())) == []
    for listed in (
        store.read_now(lambda transaction: transaction.points.points()),
        store.read_now(lambda transaction: transaction.points.points_named(POINT)),
    ):
        assert listed == []
    assert store.read_now(lambda transaction: transaction.points.newest("vm-1", "repository")) is None


def test_roots_by_their_number(store: Store) -> None:
    later = a_run(5, vm_id="vm-5", state=RunState.SUCCEEDED)
    point = a_point(later, ATTEMPT.id, seq=7)
    store.write_now(lambda transaction: transaction.runs.add_run(later))
    store.write_now(lambda transaction: transaction.points.add_point(point))
    roots = store.read_now(lambda transaction: transaction.points.roots("repository", since_seq=1))
    assert [(root.id, root.state, root.intent) for root in roots] == [(later.id, PointState.PUBLISHING, None)]
    assert len(store.read_now(lambda transaction: transaction.points.roots("repository"))) == 2
    assert store.read_now(lambda transaction: transaction.points.roots("repository", after=later.id)) == []


def test_one_active_job_a_repository_and_kind(store: Store) -> None:
    def start(kind: JobKind = JobKind.COLLECT, **request: object) -> Job:
        return store.write_now(lambda transaction: start_job(transaction, "repository", kind, request, CLOCK))

    first, same, other = start(plan_only=True), start(plan_only=True), start(plan_only=False)
    check = start(JobKind.CHECK)
    assert first == same != other

    def activate(job: Job) -> Job:
        return store.write_now(lambda transaction: transaction.jobs.save_job(job, begun(job, NOW)))

    def unknown() -> None:
        store.write_now(lambda transaction: start_job(transaction, "x", JobKind.COLLECT, {}, CLOCK))

    active = activate(first)
    assert (active.state, active.tries, active.version) == (JobState.ACTIVE, 1, 2)
    with pytest.raises(sa.exc.IntegrityError):
        activate(other)
    activate(check)
    assert refused(lambda: activate(first), Aborted) == "CHANGED"
    assert len(store.read_now(lambda transaction: transaction.jobs.open_jobs())) == 3
    assert refused(unknown, NotFound) == "REPOSITORY_UNKNOWN"


def newest_because(store: Store, because: str) -> str:
    job = store.read_now(lambda transaction: transaction.jobs.newest_because("repository", because))
    return "" if job is None else job.id


def test_the_newest_check_that_began_by_itself_is_found_among_any_number_of_jobs(store: Store) -> None:
    def add(number: int, kind: JobKind, because: str, repository_id: str = "repository") -> None:
        request = json.dumps({"because": because})
        job = Job(f"{number:04}", repository_id, kind, JobState.SUCCEEDED, request, NOW)
        store.write_now(lambda transaction: transaction.jobs.add_job(job))

    assert newest_because(store, "rolling") == ""
    store.write_now(lambda transaction: transaction.repositories.add_repository(a_repository("other", "other")))
    for number, because in enumerate(("rolling", "rolling", "new")):
        add(number, JobKind.CHECK, because)
    add(3, JobKind.CHECK, "rolling", "other")
    for number in range(4, 64):
        add(number, JobKind.COLLECT, "rolling")
    assert [newest_because(store, each) for each in ("rolling", "new", "policy")] == ["0001", "0002", ""]
    (kept,) = store.read_now(lambda transaction: last_jobs(transaction, "other"))
    assert (kept.id, kept.because) == ("0003", "rolling")
    assert [job.id for job in store.read_now(lambda transaction: last_jobs(transaction, "repository"))] == [
        "0002",
        "0001",
    ]


def test_rolling_verification_remembers_when_it_last_ran_however_many_jobs_came_since(store: Store) -> None:
    """Else it would count from when the repository was added, and read everything."""
    month_later_us = NOW + 30 * 86_400 * 10**6
    clock = ManualClock(month_later_us)
    pack = a_pack(1, state=PackState.STORED, verified_us=NOW)
    rolling = json.dumps({"because": "rolling", "limit_bytes": 1})
    jobs = [Job("0000", "repository", JobKind.CHECK, JobState.SUCCEEDED, rolling, month_later_us, result="{}")]
    jobs += [
        Job(f"{number:04}", "repository", JobKind.COLLECT, JobState.SUCCEEDED, "{}", month_later_us)
        for number in range(1, 61)
    ]

    def due(transaction: Transaction) -> list[str]:
        lease, wakes = LeaderLease(store, SteadyClock(clock), Timings()), Wakes()
        found = Verification(store, lease, wakes, clock, Timings())._due(transaction, clock.now_us())
        return [wanted.because for _, wanted, _ in found]

    store.write_now(lambda transaction: transaction.packs.add_pack(pack))
    store.write_now(lambda transaction: transaction.points.mark_proved(POINT, NOW))
    assert store.read_now(due) == ["rolling"]
    for job in jobs:
        store.write_now(lambda transaction, each=job: transaction.jobs.add_job(each))  # type: ignore[misc]
    assert store.read_now(due) == []
    clock.advance(Timings().verify_period_seconds)
    assert store.read_now(due) == ["rolling"]


def test_packs_keep_what_is_condemned_and_bad(store: Store) -> None:
    pack = a_pack(1, state=PackState.STORED, slots=9)
    store.write_now(lambda transaction: transaction.packs.add_pack(pack))
    after = replace(
        pack,
        condemned=SlotSet.of((1, 5)),
        condemned_us=NOW,
        bad=SlotSet.of((5, 8)),
        generation=3,
        reserved_generation=4,
        hashed_generation=3,
        generation_hash=b"h" * 16,
        verified_us=NOW,
    )
    store.write_now(lambda transaction: transaction.packs.save_pack(pack, after))
    assert store.read_now(lambda transaction: transaction.packs.pack_page("repository", b"", 9)) == [after]
    assert store.read_now(lambda transaction: transaction.packs.pack_page("repository", pack.id, 9)) == []
    assert list(after.unusable) == [1, 5, 8]
    assert after.verified


def test_a_generations_hash_is_not_taken_for_another_generations() -> None:
    """A controller of an older version, or a replayed log, moves the generation on and knows nothing of hashes."""
    compacted = a_pack(1, state=PackState.STORED).at_generation(3, 900, b"h" * 16)
    assert compacted.present_hash == b"h" * 16
    assert replace(compacted, generation=4).present_hash == b""
    assert replace(compacted, generation=0).present_hash == b""


@pytest.mark.parametrize(
    ("state", "ended_us", "used"),
    [
        (RunState.ACTIVE, 0, True),
        (RunState.READY, NOW - 100, True),
        (RunState.FAILED, NOW, True),
        (RunState.FAILED, NOW - 100, False),
        (RunState.SUCCEEDED, NOW, False),
    ],
)
def test_packs_in_use(store: Store, state: RunState, ended_us: int, used: bool) -> None:
    run = a_run(3, vm_id="vm-3", state=state)
    attempt = replace(ATTEMPT, id=a_run(33).id, run_id=run.id, state=AttemptState.FAILED, ended_us=ended_us)
    pack = a_pack(1, attempt_id=attempt.id)

    def closure(transaction: Transaction) -> frozenset[bytes]:
        transaction.runs.add_run(run)
        transaction.runs.add_attempt(attempt)
        transaction.packs.add_pack(pack)
        return transaction.packs.in_use("repository", [pack.id, b"x" * 16], NOW - 50)

    assert store.write_now(closure) == ({pack.id} if used else frozenset())


def test_ids_that_nobody_knows_are_given_up(store: Store) -> None:
    ids = [bytes([number]) * 16 for number in (1, 2)]
    for _ in range(2):
        store.write_now(lambda transaction: transaction.packs.void_unknown("repository", ids[:1]))
    assert store.read_now(lambda transaction: transaction.packs.void_ids("repository", ids)) == {ids[0]}


def of_schema(file: Path, revision: str) -> None:
    """An empty database as that version made it."""
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(SCRIPTS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
    engine.dispose()


def test_the_migration_keeps_packs_and_points(tmp_path: Path) -> None:
    """A database of the first schema, with a meta pack that is stored twice."""
    file = tmp_path / "controller.sqlite"
    of_schema(file, "0001")
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("INSERT INTO repositories (id, name) VALUES ('repository', 'main')")
        raw.execute("INSERT INTO gc (repository_id) VALUES ('repository')")
        raw.execute("INSERT INTO join_tokens (id, secret_sha256) VALUES ('t', x'')")
        columns = "id, token_id, first_key_sha256, public_key_sha256, certificate_pem"
        raw.execute(f"INSERT INTO agents ({columns}) VALUES ('alpha', 't', x'', x'', x'')")
        raw.execute("INSERT INTO hosts (id) VALUES ('alpha')")
        raw.execute(
            "INSERT INTO runs (id, vm_id, repository_id, state) VALUES ('run', 'vm', 'repository', 'SUCCEEDED')"
        )
        columns = "id, run_id, host_id, state, root_hash, refmap_hash"
        raw.execute(f"INSERT INTO attempts ({columns}) VALUES ('a', 'run', 'alpha', 'SUCCEEDED', x'', x'')")
        columns = "repository_id, id, host_id, attempt_id, state, meta, slots"
        raw.execute(f"INSERT INTO packs ({columns}) VALUES ('repository', x'01', 'alpha', 'a', 'STORED', 1, 5)")
        columns = "id, vm_id, repository_id, attempt_id, host_id, state, manifest_hash"
        raw.execute(
            f"INSERT INTO restore_points ({columns}) VALUES ('p', 'vm', 'repository', 'a', 'alpha', 'AVAILABLE', x'')"
        )
        raw.commit()
    with closing(SqliteDatabase(file)) as database:
        (pack,) = database.read_now(lambda transaction: stored_packs(transaction, "repository"))
        assert (pack.slots, pack.reserved_generation, len(pack.condemned), pack.verified) == (5, 1, 0, False)
        point = database.read_now(lambda transaction: transaction.points.point("p"))
        assert point is not None
        assert (point.state, point.tombstone, point.damaged) == (PointState.AVAILABLE, b"", "")


def test_the_migration_says_of_old_jobs_why_they_began(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    of_schema(file, "0014")
    rolling, ordered = '{"because": "rolling", "limit_bytes": 1}', '{"read_data_percent": 100}'
    asked = [("1", "CHECK", rolling), ("2", "CHECK", ordered), ("3", "COLLECT", rolling)]
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("INSERT INTO repositories (id, name) VALUES ('repository', 'main')")
        for row in asked:
            columns = "repository_id, state, id, kind, request"
            raw.execute(f"INSERT INTO jobs ({columns}) VALUES ('repository', 'SUCCEEDED', ?, ?, ?)", row)
        raw.commit()
    with closing(SqliteDatabase(file)) as database:
        assert [newest_because(database, each) for each in ("rolling", "new")] == ["1", ""]
