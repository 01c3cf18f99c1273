"""A controller that dies after any step of a publication: the next one finishes it, with the same bytes, once."""

import asyncio
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition, InvalidArgument, Unavailable
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.publishing.promotion import OnStep, Promotion
from seawall.controller.publishing.publisher import Completion, Publisher
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import JobState
from seawall.controller.repositories.catalogue import Keys, OpenStore, RepositoryCatalogue
from seawall.controller.repositories.health import StoreHealth
from seawall.controller.repositories.stored_packs import stored_packs
from seawall.controller.runs.events import Moment, TimePassed
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, load
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import SecretBox
from seawall.controller.services.convert_agent import attempt_key, hand_in_of
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.format.layout import manifest_name, refmap_name
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.collecting import collected, in_database
from support.controller_agent import VM_ID, ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, reason_of, running
from support.memory_disks import ModelDisk
from support.old_database import keep, put_back

STEPS = ("intent", "refmap", "manifest", "available")
SIZE = 1024 * 1024


class Died(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class HandedIn:
    """Everything is stored and handed in; CompleteAttempt was not called yet."""

    config: ControllerConfig
    bucket: Path
    agent: ScriptedAgent
    request: agent_pb2.CompleteAttemptRequest
    run_id: str


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> HandedIn:
    place = tmp_path_factory.mktemp("prepared")
    config = configured(place / "state")
    disk = ModelDisk(SIZE)
    disk.write(0, bytes(range(256)) * 512)
    with running(config) as controller:
        controller.add_folder(place / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        run = controller.start_backup("db-1")
        assignment = alpha.next_assignment()
        grant = alpha.accept(assignment.attempt).backup
        request = alpha.hand_in(assignment.attempt, alpha.write(assignment.attempt, grant, {"vda": disk.source()}))
    return HandedIn(config, place / "bucket", alpha, request, run.run_id)


@pytest.fixture
def handed_in(prepared: HandedIn, tmp_path: Path) -> Iterator[HandedIn]:
    """As it was, for each test."""
    kept = tmp_path / "kept"
    shutil.copytree(prepared.config.state_dir, kept / "state")
    shutil.copytree(prepared.bucket, kept / "bucket")
    yield prepared
    for name, place in (("state", prepared.config.state_dir), ("bucket", prepared.bucket)):
        shutil.rmtree(place)
        shutil.copytree(kept / name, place)


@contextmanager
def catalogue_of(
    config: ControllerConfig, opened: OpenStore = open_store
) -> Iterator[tuple[SqliteDatabase, RepositoryCatalogue]]:
    """The repositories of a controller that does not run."""
    clock = SteadyClock(SystemClock())
    database = SqliteDatabase(config.paths.database, config.paths.lock)
    lease = LeaderLease(database, clock, BRISK)
    box = SecretBox.from_file(config.paths.kek)
    keys = Keys(load_wrapper_key(config.paths, box), box)
    try:
        asyncio.run(lease.acquire())
        yield database, RepositoryCatalogue(database, keys, config.paths, lease, clock, opened)
    finally:
        database.close()


@contextmanager
def publisher(
    config: ControllerConfig, on_step: OnStep = lambda step: None, opened: OpenStore = open_store
) -> Iterator[tuple[Publisher, LeaderLease]]:
    """A publisher alone, without the loop that finishes what it leaves."""
    clock = SteadyClock(SystemClock())
    database = SqliteDatabase(config.paths.database, config.paths.lock)
    lease = LeaderLease(database, clock, BRISK)
    box = SecretBox.from_file(config.paths.kek)
    keys = Keys(load_wrapper_key(config.paths, box), box)
    catalogue = RepositoryCatalogue(database, keys, config.paths, lease, clock, opened)
    try:
        asyncio.run(lease.acquire())
        promotion = Promotion(database, catalogue, lease, clock, BRISK, on_step)
        yield Publisher(database, catalogue, lease, clock, promotion), lease
    finally:
        database.close()


def complete(published_by: Publisher, given: HandedIn, request: agent_pb2.CompleteAttemptRequest) -> Completion:
    return published_by.complete(attempt_key(given.agent.agent_id, request.attempt), hand_in_of(request))


def reason(call: object, kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()  # type: ignore[operator]
    return caught.value.reason


def objects(given: HandedIn, prefix: str) -> dict[str, bytes]:
    store = FolderStore(given.bucket)
    return {info.name: store.get(info.name) for info in store.list(prefix)}


@pytest.mark.parametrize("last_step", STEPS)
def test_whatever_step_was_the_last_one_point_is_published_once(handed_in: HandedIn, last_step: str) -> None:
    def die(step: str) -> None:
        if step == last_step:
            raise Died

    with publisher(handed_in.config, die) as (dying, _), pytest.raises(Died):
        complete(dying, handed_in, handed_in.request)
    left = objects(handed_in, "v1/m/") | objects(handed_in, "v1/r/")
    assert len(left) == STEPS[:3].index(min(last_step, "manifest", key=STEPS.index))

    with running(handed_in.config) as controller:
        run = controller.watch(handed_in.run_id, lambda each: each.state == resources_pb2.RUN_STATE_SUCCEEDED)
        assert [attempt.state for attempt in run.attempts] == [resources_pb2.ATTEMPT_STATE_SUCCEEDED]
        handed_in.agent.connect()
        assert handed_in.agent.stub.CompleteAttempt(handed_in.request).point_id == handed_in.run_id
        points = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
        assert [(point.point_id, point.state) for point in points] == [
            (handed_in.run_id, resources_pb2.POINT_STATE_AVAILABLE)
        ]
    now = objects(handed_in, "v1/m/") | objects(handed_in, "v1/r/")
    assert len(now) == 2
    assert left.items() <= now.items()


def test_a_leader_that_was_replaced_publishes_nothing(handed_in: HandedIn) -> None:
    with publisher(handed_in.config) as (former, lease):
        former._promotion.unfinished()
        held = lease.current
        asyncio.run(lease.acquire())
        lease._current = held  # a leader that slept through its lease
        assert reason(lambda: complete(former, handed_in, handed_in.request), Unavailable) == "NOT_LEADER"
        assert list(former._promotion.unfinished()) == []
    assert objects(handed_in, "v1/m/") == {}


def test_a_leader_replaced_after_its_intent_puts_nothing(handed_in: HandedIn) -> None:
    leases: list[LeaderLease] = []

    def replaced(step: str) -> None:
        if step == "intent":
            held = leases[0].current
            asyncio.run(leases[0].acquire())
            leases[0]._current = held

    with publisher(handed_in.config, replaced) as (former, lease):
        leases.append(lease)
        assert reason(lambda: complete(former, handed_in, handed_in.request), Unavailable) == "NOT_LEADER"
        assert list(former._promotion.unfinished()) == [handed_in.run_id]
        assert objects(handed_in, "v1/r/") == {}
        asyncio.run(lease.acquire())
        assert complete(former, handed_in, handed_in.request).point_id == handed_in.run_id


def test_another_object_in_the_points_place_ends_the_run_and_is_never_overwritten(handed_in: HandedIn) -> None:
    name = manifest_name("default", VM_ID, handed_in.run_id)
    FolderStore(handed_in.bucket).put(name, b"not ours")
    with publisher(handed_in.config) as (one, _):
        for _ in range(2):
            assert reason(lambda: complete(one, handed_in, handed_in.request), DataLoss) == "COMMITTED_OBJECT_DIFFERS"
        assert list(one._promotion.unfinished()) == []
    assert objects(handed_in, "v1/m/") == {name: b"not ours"}
    with running(handed_in.config) as controller:
        run = controller.run(handed_in.run_id)
        assert (run.state, run.failure.reason) == (resources_pb2.RUN_STATE_FAILED, "COMMITTED_OBJECT_DIFFERS")
        assert name in run.failure.message
        assert run.failure.next_step.startswith("Back the VM up again")
        assert [attempt.state for attempt in run.attempts] == [resources_pb2.ATTEMPT_STATE_FAILED]
        assert not controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
        handed_in.agent.connect()
        handed_in.agent.hello()
        assert controller.start_backup("db-1").run_id != handed_in.run_id
        grant = handed_in.agent.accept(handed_in.agent.next_assignment().attempt).backup
        assert grant.no_parent_reason == "This VM has no earlier point in this repository."


@contextmanager
def bucket_gone_at_the_intent(given: HandedIn) -> Iterator[Controller]:
    """A controller that finds a point to finish, and no bucket to put it in; its run says so."""

    def vanish(step: str) -> None:
        if step == "intent":
            given.bucket.rename(given.bucket.with_name("away"))

    try:
        with publisher(given.config, vanish) as (one, _):
            assert reason(lambda: complete(one, given, given.request), FailedPrecondition) == "BUCKET_MISSING"
            assert list(one._promotion.unfinished()) == [given.run_id]
        with running(given.config) as controller:
            run = controller.watch(given.run_id, lambda each: "BUCKET_MISSING" in each.blocked_on)
            assert run.state == resources_pb2.RUN_STATE_ACTIVE
            assert "since 20" in run.blocked_on and f"seawall run cancel {given.run_id}" in run.blocked_on
            yield controller
    finally:
        if not given.bucket.exists():
            given.bucket.with_name("away").rename(given.bucket)


def test_a_bucket_that_is_gone_is_waited_for(handed_in: HandedIn) -> None:
    with bucket_gone_at_the_intent(handed_in) as controller:
        handed_in.bucket.with_name("away").rename(handed_in.bucket)
        run = controller.watch(handed_in.run_id, lambda each: each.state == resources_pb2.RUN_STATE_SUCCEEDED)
        assert run.blocked_on == ""
    assert len(objects(handed_in, "v1/m/") | objects(handed_in, "v1/r/")) == 2


def test_a_bucket_that_is_gone_is_given_up_by_the_operator(handed_in: HandedIn) -> None:
    with bucket_gone_at_the_intent(handed_in) as controller:
        controller.backups.CancelRun(operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=handed_in.run_id))
        run = controller.watch(handed_in.run_id, lambda each: each.state == resources_pb2.RUN_STATE_FAILED)
        assert run.failure.reason == "BUCKET_MISSING" and run.failure.next_step
        assert [attempt.state for attempt in run.attempts] == [resources_pb2.ATTEMPT_STATE_FAILED]
        assert not controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
        handed_in.agent.connect()
        with pytest.raises(grpc.RpcError) as repeated:
            handed_in.agent.stub.CompleteAttempt(handed_in.request)
        assert reason_of(repeated.value) == "BUCKET_MISSING"


def test_a_point_handed_over_counts_against_its_repository_once_and_only_so_many_are(
    handed_in: HandedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt holds no place: nothing else would keep the next one from trying a store that is away."""
    leaving = agent_pb2.CompleteAttemptRequest()
    leaving.CopyFrom(handed_in.request)
    leaving.may_leave = True
    away = handed_in.bucket.with_name("away")

    def vanish(step: str) -> None:
        if step == "intent":
            handed_in.bucket.rename(away)

    def failures(one: Publisher) -> list[tuple[str, int, str]]:
        found = one._store.read_now(lambda transaction: transaction.limits.breakers())
        return [(each.scope, each.failures, each.reason) for each in found]

    try:
        with publisher(handed_in.config, vanish) as (one, _):
            monkeypatch.setattr("seawall.controller.publishing.publisher.MOST_WAITING", 0)
            assert reason(lambda: complete(one, handed_in, leaving), FailedPrecondition) == "BUCKET_MISSING"
            assert failures(one) == []
            monkeypatch.undo()
            for _repeat in range(2):
                assert complete(one, handed_in, leaving).publishing
                assert failures(one) == [("REPOSITORY", 1, "BUCKET_MISSING")]
            away.rename(handed_in.bucket)
            one._promotion.finish(handed_in.run_id)
            assert failures(one) == []
    finally:
        if away.exists():
            away.rename(handed_in.bucket)


def test_a_point_that_another_commits_meanwhile_is_no_refusal(
    handed_in: HandedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher(handed_in.config) as (one, _):
        finish = one._promotion.finish

        def in_vain(run_id: str, validated_by: Leader | None) -> None:
            finish(run_id, validated_by)
            raise FailedPrecondition("BUCKET_MISSING", "It was there a moment ago.")

        monkeypatch.setattr(one._promotion, "finish", in_vain)
        assert complete(one, handed_in, handed_in.request) == Completion(handed_in.run_id)


def test_a_store_that_is_away_shows(handed_in: HandedIn) -> None:
    """Before any run meets it."""
    with catalogue_of(handed_in.config) as (database, catalogue):
        (record,) = database.read_now(lambda transaction: transaction.repositories.repositories())
        health = StoreHealth(catalogue, SystemClock())
        health.ask(record.id)
        assert health.trouble(record.id) == ""
        away = handed_in.bucket.rename(handed_in.bucket.with_name("away"))
        try:
            health.ask(record.id)
            first = health.trouble(record.id)
            assert "not usable since 20" in first and "BUCKET_MISSING" in first and "Bring the bucket back" in first
            health.ask(record.id)
            assert health.trouble(record.id) == first
        finally:
            away.rename(handed_in.bucket)
        health.ask(record.id)
        assert health.trouble(record.id) == ""


def test_handed_in_objects_must_be_what_they_are_called(handed_in: HandedIn) -> None:
    (name,) = (name for name in objects(handed_in, "v1/a/") if "/root-" in name)
    body = FolderStore(handed_in.bucket).get(name)
    FolderStore(handed_in.bucket).put(name, body[:-1] + b"\0", create_only=False)
    other = agent_pb2.CompleteAttemptRequest()
    other.CopyFrom(handed_in.request)
    other.refmap_hash = bytes(32)
    with publisher(handed_in.config) as (one, _):
        assert reason(lambda: complete(one, handed_in, handed_in.request), DataLoss) == "HANDED_IN_OBJECT_DIFFERS"
        FolderStore(handed_in.bucket).put(name, body, create_only=False)
        assert reason(lambda: complete(one, handed_in, other), InvalidArgument) == "BAD_REFMAP"
        wrong_disks = agent_pb2.CompleteAttemptRequest()
        wrong_disks.CopyFrom(handed_in.request)
        wrong_disks.disks[0].size_bytes += 512
        assert reason(lambda: complete(one, handed_in, wrong_disks), InvalidArgument) == "BAD_ROOT"
        assert list(one._promotion.unfinished()) == []


def test_an_older_database_is_fenced_by_the_buckets_epochs(handed_in: HandedIn) -> None:
    """The bucket saw a later leader than this database remembers: attempts of before may have ended otherwise."""
    store = FolderStore(handed_in.bucket)
    store.put("v1/c/epoch/000000000900-00000000-0000-4000-8000-000000000000", b"")
    with publisher(handed_in.config) as (one, lease):
        assert reason(lambda: complete(one, handed_in, handed_in.request), ControllerError) == "FENCED"
        assert lease.current.epoch > 900
    assert objects(handed_in, "v1/m/") == {}


def test_a_mark_that_no_controller_made_spoils_one_bucket_alone(handed_in: HandedIn) -> None:
    """The epoch is that of all repositories, and its digits in names have an end."""
    FolderStore(handed_in.bucket).put("v1/c/epoch/999999999999-00000000-0000-4000-8000-000000000000", b"")
    with publisher(handed_in.config) as (one, lease):
        with pytest.raises(DataLoss, match="999999999999"):
            complete(one, handed_in, handed_in.request)
        assert lease.current.epoch < 900


ENDS = (resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_FAILED)


@pytest.mark.parametrize("sweep", [False, True])
def test_an_older_database_publishes_only_what_is_still_there(handed_in: HandedIn, tmp_path: Path, sweep: bool) -> None:
    """Copied while a point is PUBLISHING, put back after the same leader gave it up and (`sweep`) collected what it names: no epoch in the
    bucket says that the database is older.
    """
    timings = replace(BRISK, cancel_publishing_seconds=0.2, collect_grace_seconds=0.0)
    database, kept, refmaps = handed_in.config.paths.database, tmp_path / "kept.sqlite", handed_in.bucket / "v1" / "r"
    refmaps.write_bytes(b"no folder: the store refuses whatever should lie there")
    with running(handed_in.config, timings) as controller:
        handed_in.agent.connect()
        with pytest.raises(grpc.RpcError):
            handed_in.agent.stub.CompleteAttempt(handed_in.request)
        keep(database, kept)
        controller.backups.CancelRun(operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=handed_in.run_id))
        controller.watch(handed_in.run_id, lambda each: each.state == resources_pb2.RUN_STATE_FAILED)
        refmaps.unlink()
        for _ in range(2 if sweep else 0):
            assert collected(controller).state is JobState.SUCCEEDED
    assert bool(objects(handed_in, "v1/p/")) is not sweep
    put_back(database, kept)
    with running(handed_in.config, timings) as controller:
        run = controller.watch(handed_in.run_id, lambda each: each.state in ENDS)
        assert run.failure.reason == ("POINT_DATA_COLLECTED" if sweep else "")
        assert len(listed(controller)) == len(objects(handed_in, "v1/m/")) == (0 if sweep else 1)
        # Its condemn log shows that it is older: then attempts of before are fenced as well.
        assert in_database(controller, lambda transaction: transaction.leadership.db_epoch()) == (2 if sweep else 1)


def test_what_was_validated_before_is_looked_at_again(handed_in: HandedIn) -> None:
    """By each later leader, although neither a mark nor a log says that the database was put back."""

    def die(step: str) -> None:
        if step == "intent":
            raise Died

    with publisher(handed_in.config, die) as (dying, _), pytest.raises(Died):
        complete(dying, handed_in, handed_in.request)
    with catalogue_of(handed_in.config) as (database, _):
        (record,) = database.read_now(lambda transaction: transaction.repositories.repositories())
        pack = next(stored_packs(database, record.id))
        gone = replace(pack, condemned=SlotSet.of((0,)), condemned_us=1)
        database.write_now(lambda transaction: transaction.packs.save_pack(pack, gone))
    with publisher(handed_in.config) as (one, _):
        assert reason(lambda: complete(one, handed_in, handed_in.request), DataLoss) == "POINT_DATA_COLLECTED"
    assert objects(handed_in, "v1/m/") == {}


@contextmanager
def given_up_after_its_last_put(given: HandedIn) -> Iterator[SqliteDatabase]:
    """The store took the manifest, its answer never came, and a week went by: the point was given up. The database of then."""

    def die(step: str) -> None:
        if step == "manifest":
            raise Died

    with publisher(given.config, die) as (dying, _), pytest.raises(Died):
        complete(dying, given, given.request)
    with catalogue_of(given.config) as (database, _):

        def a_week_later(transaction: Transaction) -> None:
            point = transaction.points.point(given.run_id)
            assert point is not None
            event = TimePassed(transaction.leadership.db_epoch(), host_online=True, seen_elsewhere=False, grace=False)
            late_us = SystemClock().now_us() + 8 * 86_400 * 10**6
            after = Change(transaction).take(load(transaction, point.attempt_id), event, Moment(late_us, BRISK)).after
            assert after.run.failure is not None and after.run.failure.reason == "PUBLISH_TIMEOUT"

        database.write_now(a_week_later)
        yield database


def listed(controller: Controller) -> list[str]:
    return [point.point_id for point in controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points]


def test_a_point_that_was_given_up_and_lies_in_the_bucket_is_taken_back(handed_in: HandedIn) -> None:
    """By the next leader, when it opens the repository; it stands in no collection's way."""
    with given_up_after_its_last_put(handed_in) as database:
        assert not database.read_now(lambda transaction: transaction.points.points())
    with running(handed_in.config) as controller:
        deadline = time.monotonic() + 30
        while listed(controller) != [handed_in.run_id]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert collected(controller).state is JobState.SUCCEEDED
        run = controller.run(handed_in.run_id)
        assert run.state == resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS
        assert [warning.reason for warning in run.warnings] == ["FOUND_COMMITTED"] and not run.HasField("failure")
        assert [attempt.state for attempt in run.attempts] == [resources_pb2.ATTEMPT_STATE_SUCCEEDED]
        handed_in.agent.connect()
        assert handed_in.agent.stub.CompleteAttempt(handed_in.request).point_id == handed_in.run_id


def test_a_point_that_arrives_after_it_was_given_up_does_not_stop_collections(handed_in: HandedIn) -> None:
    """Its PUT was under way for long: the same leader meets it before its next collection."""
    store, name = FolderStore(handed_in.bucket), manifest_name("default", VM_ID, handed_in.run_id)
    with given_up_after_its_last_put(handed_in):
        manifest = store.get(name)
        store.delete(name)
    with running(handed_in.config) as controller:
        assert collected(controller, plan_only=True).state is JobState.SUCCEEDED
        assert controller.run(handed_in.run_id).failure.reason == "PUBLISH_TIMEOUT"
        store.put(name, manifest)
        assert collected(controller).state is JobState.SUCCEEDED
        assert listed(controller) == [handed_in.run_id]


def test_a_point_that_was_given_up_and_lost_data_stays_so(handed_in: HandedIn) -> None:
    with given_up_after_its_last_put(handed_in) as database:
        (record,) = database.read_now(lambda transaction: transaction.repositories.repositories())
        pack = next(stored_packs(database, record.id))
        gone = replace(pack, condemned=SlotSet.of((0,)), condemned_us=1)
        database.write_now(lambda transaction: transaction.packs.save_pack(pack, gone))
    with running(handed_in.config) as controller:
        stopped = collected(controller)
        assert stopped.state is JobState.FAILED and "MANIFEST_UNKNOWN" in stopped.failure
        assert listed(controller) == []
        assert controller.run(handed_in.run_id).failure.reason == "PUBLISH_TIMEOUT"


class ReadCountingStore(FolderStore):
    """Names of the objects that were read, each time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[str] = []

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self.reads.append(name)
        return super().get_range(name, offset, length)


@pytest.mark.parametrize("spoilt", ["manifest", "refmap"])
def test_a_point_that_was_refused_is_read_again_only_once_it_changed(handed_in: HandedIn, spoilt: str) -> None:
    """Each collection looks for points to take back: what one of them cannot use, the next one does not read."""
    counting = ReadCountingStore(handed_in.bucket)
    names = {
        "manifest": manifest_name("default", VM_ID, handed_in.run_id),
        "refmap": refmap_name("default", VM_ID, handed_in.run_id),
    }
    with given_up_after_its_last_put(handed_in):
        whole = counting.get(names[spoilt])
        counting.put(names[spoilt], whole[:-1] + bytes([whole[-1] ^ 1]), create_only=False)
    with catalogue_of(handed_in.config, lambda url, credentials, clock: counting) as (database, catalogue):
        (record,) = database.read_now(lambda transaction: transaction.repositories.repositories())
        repository = catalogue.open(record.id).repository
        assert names[spoilt] in counting.reads, "opening looks"
        counting.reads.clear()
        for _round in range(2):
            assert catalogue.given_up.take_back(repository, record.id) == []
        assert counting.reads == []
        counting.put(names[spoilt], whole, create_only=False)
        assert catalogue.given_up.take_back(repository, record.id) == [handed_in.run_id]


def test_two_hand_ins_at_once_end_in_one_point(handed_in: HandedIn) -> None:
    nested: list[str] = []

    with publisher(handed_in.config) as (inner, _):

        def meanwhile(step: str) -> None:
            if step == "refmap" and not nested:
                nested.append("begun")
                nested.append(complete(inner, handed_in, handed_in.request).point_id)

        inner._promotion.on_step = meanwhile
        assert complete(inner, handed_in, handed_in.request).point_id == handed_in.run_id
    assert nested == ["begun", handed_in.run_id]
    assert len(objects(handed_in, "v1/m/")) == 1


def test_many_hand_ins_at_once_end_in_one_point(handed_in: HandedIn) -> None:
    with publisher(handed_in.config) as (one, _), ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: complete(one, handed_in, handed_in.request).point_id, range(6)))
    assert answers == [handed_in.run_id] * 6
    assert len(objects(handed_in, "v1/m/")) == 1


def test_callers_do_not_wait_for_a_long_opening(handed_in: HandedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seawall.controller.repositories.catalogue.OPENING_WAIT_SECONDS", 0.05)
    opening, go_on = threading.Event(), threading.Event()

    def slow(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        opening.set()
        assert go_on.wait(10)
        return open_store(url, credentials, clock)

    with publisher(handed_in.config, opened=slow) as (one, _), ThreadPoolExecutor(1) as threads:
        first = threads.submit(complete, one, handed_in, handed_in.request)
        assert opening.wait(10)
        assert reason(lambda: complete(one, handed_in, handed_in.request), Unavailable) == "REPOSITORY_OPENING"
        go_on.set()
        assert first.result(10).point_id == handed_in.run_id
