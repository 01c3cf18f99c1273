"""A controller that dies after any step of a deletion: the next one finishes it. What is in use, or led by somebody else, stays."""

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition, Unavailable
from seawall.controller.maintenance.jobs import start_job
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.maintenance import JobKind, Pin, PinKind
from seawall.controller.scheduler.leading import LeaderLease
from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import PointName, epoch_name, tombstone_name
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.controller_agent import VM_ID, ScriptedAgent
from support.controller_application import Controller, configured, reason_of, running
from support.deleting_points import (
    STEPS,
    Bucket,
    Died,
    backed_up,
    deletions,
    dying_at,
    objects_of,
    points_of,
    with_points,
)


@dataclass(frozen=True)
class Prepared:
    """A controller that does not run, and its points, oldest first."""

    config: ControllerConfig
    bucket: Bucket
    agent: ScriptedAgent
    points: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    place = tmp_path_factory.mktemp("made")
    config = configured(place / "state")
    with running(config) as controller:
        agent, points = with_points(controller, place / "bucket")
    return Prepared(config, Bucket(place / "bucket"), agent, points)


@pytest.fixture
def prepared(made: Prepared, tmp_path: Path) -> Iterator[Prepared]:
    """As it was, for each test."""
    kept = {"state": made.config.state_dir, "bucket": made.bucket.folder}
    for name, place in kept.items():
        shutil.copytree(place, tmp_path / name)
    yield made
    for name, place in kept.items():
        shutil.rmtree(place)
        shutil.copytree(tmp_path / name, place)


def reason(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listed(controller: Controller) -> list[str]:
    return [point.point_id for point in controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points]


def delete(controller: Controller, *points: str, **fields: object) -> operator_pb2.DeletePointsResponse:
    request = operator_pb2.DeletePointsRequest(request_id=str(uuid.uuid4()), points=points, **fields)  # type: ignore[arg-type]
    return controller.backups.DeletePoints(request)


LEFT = {"decided": "mr", "announced": "mrt", "buried": "mrt", "manifest": "rt", "refmap": "t", "deleted": "t"}


@pytest.mark.parametrize("last_step", STEPS)
def test_whatever_step_was_the_last_the_point_goes_and_the_others_stay(prepared: Prepared, last_step: str) -> None:
    oldest, middle, newest = prepared.points
    with deletions(prepared.config, dying_at(last_step)) as (dying, _, _), pytest.raises(Died):
        dying.delete([middle])
        dying.finish(middle)
    assert prepared.bucket.of(middle) == LEFT[last_step]
    with running(prepared.config) as controller:
        assert listed(controller) == [newest, oldest]
        until(lambda: prepared.bucket.of(middle) == "t")
        prepared.agent.connect()
        prepared.agent.hello()
        fourth = backed_up(controller, prepared.agent, 4)
        assert set(listed(controller)) == {oldest, newest, fourth}
    assert [prepared.bucket.of(point) for point in (oldest, newest)] == ["mr", "mr"]
    with deletions(prepared.config) as (after, _, database):
        assert list(after.unfinished()) == []
        point = database.read_now(lambda transaction: transaction.points.point(middle))
        assert point is not None and point.state is PointState.DELETED and point.deleted_us > 0


def test_an_order_is_answered_when_its_tombstones_are_there_and_repeats_itself(prepared: Prepared) -> None:
    oldest, middle, newest = prepared.points
    with running(prepared.config) as controller:
        request = operator_pb2.DeletePointsRequest(request_id=str(uuid.uuid4()), points=[oldest, middle[:30], oldest])
        first = controller.backups.DeletePoints(request)
        assert [prepared.bucket.of(point)[-1] for point in (oldest, middle)] == ["t", "t"]
        assert [each.point.point_id for each in first.verdicts] == [oldest, middle]
        assert {each.verdict for each in first.verdicts} == {resources_pb2.VERDICT_KIND_DELETE}
        again = controller.backups.DeletePoints(request)
        assert [each.point.point_id for each in again.verdicts] == [oldest, middle]
        assert delete(controller, oldest).verdicts[0].point.point_id == oldest  # another order for what is gone
        assert listed(controller) == [newest]
        with pytest.raises(grpc.RpcError) as unknown:
            delete(controller, oldest[:30])
        assert reason_of(unknown.value) == "POINT_UNKNOWN"


def test_a_pinned_point_is_refused_with_who_uses_it_and_nothing_goes(prepared: Prepared) -> None:
    oldest, middle, newest = prepared.points
    with deletions(prepared.config) as (one, _, database):
        (repository,) = database.read_now(lambda transaction: transaction.repositories.repositories())

        def pin(transaction: object) -> str:
            job = start_job(transaction, repository.id, JobKind.CHECK, {}, SystemClock())  # type: ignore[arg-type]
            pin = Pin(str(uuid.uuid4()), repository.id, middle, job.id, PinKind.JOB, 1)
            transaction.pins.pin(pin)  # type: ignore[attr-defined]
            return job.id

        job_id = database.write_now(pin)
        with pytest.raises(FailedPrecondition) as refused:
            one.delete([oldest, middle, newest])
        assert (refused.value.reason, refused.value.metadata) == ("POINT_PINNED", {middle: f"job {job_id}"})
        assert list(one.unfinished()) == []
        one.delete([oldest])
        with pytest.raises(FailedPrecondition, match="being deleted"):
            database.write_now(
                lambda transaction: transaction.pins.pin(
                    Pin(str(uuid.uuid4()), repository.id, oldest, job_id, PinKind.JOB, 1)
                )
            )
    assert [prepared.bucket.of(point) for point in prepared.points] == ["mrt", "mr", "mr"]


@pytest.mark.parametrize("when", ["before it decides", "before the tombstone"])
def test_a_leader_that_was_replaced_deletes_nothing(prepared: Prepared, when: str) -> None:
    point = prepared.points[0]
    leases: list[LeaderLease] = []

    def replaced(step: str) -> None:
        if step == "decided":
            held = leases[0].current
            asyncio.run(leases[0].acquire())
            leases[0]._current = held  # a leader that slept through its lease

    with deletions(prepared.config, replaced if when == "before the tombstone" else lambda step: None) as (
        one,
        lease,
        _,
    ):
        leases.append(lease)
        if when == "before it decides":
            one.finish(point)  # opens the repository
            held = lease.current
            asyncio.run(lease.acquire())
            lease._current = held
        assert reason(lambda: one.delete([point]), Unavailable) == "NOT_LEADER"
        assert prepared.bucket.of(point) == "mr"
        assert list(one.unfinished()) == ([] if when == "before it decides" else [point])


def test_a_later_controller_in_the_bucket_stops_every_removal(prepared: Prepared) -> None:
    """The database was rolled back, or another one uses the bucket: what this one decided may be wrong."""
    point = prepared.points[0]
    with deletions(prepared.config) as (one, lease, _):
        one.delete([point])
        prepared.bucket.store.put(epoch_name(lease.current.epoch + 1, str(uuid.uuid4())), b"")
        for _ in range(2):
            assert reason(lambda: one.finish(point), Unavailable) == "NOT_LEADER"
        assert reason(lambda: one.delete([prepared.points[1]]), Unavailable) == "NOT_LEADER"
    assert [prepared.bucket.of(each) for each in prepared.points] == ["mrt", "mrt", "mr"]
    with running(prepared.config):  # it opens above that epoch
        until(lambda: [prepared.bucket.of(each) for each in prepared.points] == ["t", "t", "mr"])


@pytest.mark.slow
@pytest.mark.parametrize("last_step", ["decided", "manifest"])
def test_a_bucket_on_an_s3_server_loses_the_point_after_a_crash_too(
    tmp_path: Path, s3_url: str, s3_credentials: S3Credentials, last_step: str
) -> None:
    config, store = configured(tmp_path / "state"), open_store(s3_url, s3_credentials)
    with running(config) as controller:
        controller.add_bucket(s3_url, s3_credentials.access_key, s3_credentials.secret_key)
        _, (oldest, newest) = points_of(controller, 2)
    with deletions(config, dying_at(last_step)) as (dying, _, _), pytest.raises(Died):
        dying.delete([oldest])
        dying.finish(oldest)
    assert objects_of(store, oldest) == LEFT[last_step]
    with running(config) as controller:
        until(lambda: objects_of(store, oldest) == "t")
        assert (listed(controller), objects_of(store, newest)) == ([newest], "mr")


def test_a_store_that_is_away_is_told_and_waited_for(prepared: Prepared) -> None:
    point = prepared.points[0]
    away = prepared.bucket.folder.with_name("away")
    with running(prepared.config) as controller:
        assert delete(controller, point, plan_only=True).reclaim.known  # the repository is open now
        prepared.bucket.folder.rename(away)
        try:
            with pytest.raises(grpc.RpcError) as gone:
                delete(controller, point)
            assert reason_of(gone.value) == "BUCKET_MISSING"
            assert "The decision stands" in str(gone.value.details())
            assert point not in listed(controller)
        finally:
            away.rename(prepared.bucket.folder)
        until(lambda: prepared.bucket.of(point) == "t")


def test_what_stands_in_the_tombstones_place_stops_the_deletion(prepared: Prepared) -> None:
    point = prepared.points[0]
    prepared.bucket.store.put(tombstone_name("default", VM_ID, point), b"not ours")
    with deletions(prepared.config) as (one, _, _):
        assert reason(lambda: one.delete([point]), DataLoss) == "TOMBSTONE_PLACE_TAKEN"
        assert prepared.bucket.of(point) == "mrt"
        prepared.bucket.store.delete(tombstone_name("default", VM_ID, point))
        one.finish(point)
    assert prepared.bucket.of(point) == "t"


def test_the_removals_follow_the_tombstone_and_the_look_at_the_leaders(prepared: Prepared) -> None:
    """The order that rules 5 and 11 ask for, as the store sees it."""
    calls: list[tuple[str, str]] = []
    point = prepared.points[0]

    def opened(url: str, credentials: object, clock: object) -> Store:
        return _Seen(open_store(url, None), calls)  # type: ignore[return-value]

    with deletions(prepared.config, opened=opened) as (one, _, _):
        one.delete([point])
        del calls[:]
        one.finish(point)
    name = PointName("default", VM_ID, point)
    places = {letter: f"v1/{letter}/default/{name.vm_id}/{name.point_id}" for letter in "mrt"}
    order = [
        calls.index(call)
        for call in (
            ("put", places["t"]),
            ("list", "v1/c/epoch/"),
            ("delete", places["m"]),
            ("delete", places["r"]),
        )
    ]
    assert order == sorted(order)


def forget(controller: Controller, **fields: object) -> dict[str, tuple[bool, list[str]]]:
    """Keep one point: id -> kept, reasons."""
    policy = resources_pb2.RetentionPolicy(keep_last=1)
    request = operator_pb2.ForgetPointsRequest(request_id=str(uuid.uuid4()), policy=policy, all_vms=True, **fields)  # type: ignore[arg-type]
    verdicts = controller.backups.ForgetPoints(request).verdicts
    return {
        each.point.point_id: (each.verdict == resources_pb2.VERDICT_KIND_KEEP, list(each.reasons)) for each in verdicts
    }


def test_only_what_was_planned_goes_and_of_that_only_what_no_rule_keeps(prepared: Prepared) -> None:
    oldest, middle, newest = prepared.points
    with running(prepared.config) as controller:
        with pytest.raises(grpc.RpcError) as unplanned:
            forget(controller)
        assert reason_of(unplanned.value) == "NOT_PLANNED"
        planned = forget(controller, plan_only=True)
        assert [point for point, (kept, _) in planned.items() if not kept] == [middle, oldest]
        prepared.agent.connect()
        prepared.agent.hello()
        fourth = backed_up(controller, prepared.agent, 4)  # now no rule keeps `newest`, which nobody saw go
        done = forget(controller, planned=[oldest, fourth, str(uuid.uuid4())])
        assert done == {oldest: (False, ["no rule keeps it"]), fourth: (True, ["newest", "last 1"])}
        assert listed(controller) == [fourth, newest, middle]


def test_a_point_that_is_being_restored_is_kept_by_policies_and_refused_by_name(prepared: Prepared) -> None:
    oldest, _, newest = prepared.points
    with running(prepared.config) as controller:
        spec = resources_pb2.RestoreSpec(point_id=oldest, host_id="alpha", disks=["vda"], directory="/var/tmp/out")
        request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
        run = controller.backups.StartRestore(request).run
        assert forget(controller, plan_only=True)[oldest] == (True, [f"in use by restore run {run.run_id}"])
        (verdict,) = delete(controller, oldest, plan_only=True).verdicts
        assert (verdict.verdict, list(verdict.reasons)) == (
            resources_pb2.VERDICT_KIND_KEEP,
            [f"in use by restore run {run.run_id}"],
        )
        with pytest.raises(grpc.RpcError) as pinned:
            delete(controller, newest, oldest)
        assert reason_of(pinned.value) == "POINT_PINNED"
        controller.backups.CancelRun(operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id))
        assert len(delete(controller, newest, oldest).verdicts) == 2


@pytest.mark.parametrize("last_step", [pytest.param("announced", marks=pytest.mark.slow), "manifest", "deleted"])
def test_a_database_from_before_the_deletion_learns_of_it_from_the_bucket(
    prepared: Prepared, tmp_path: Path, last_step: str
) -> None:
    """It was answered, so it holds: whatever became of the point's objects meanwhile, nobody uses it again."""
    oldest, middle, newest = prepared.points
    database = prepared.config.paths.database
    before = tmp_path / "before.sqlite"
    shutil.copy(database, before)
    with deletions(prepared.config, dying_at(last_step)) as (dying, _, _), pytest.raises(Died):
        dying.delete([newest])
        dying.finish(newest)
    prepared.bucket.store.put(tombstone_name("default", VM_ID, oldest), b"signed by nobody")
    for name in database.parent.glob(f"{database.name}*"):
        name.unlink()
    shutil.copy(before, database)
    with running(prepared.config) as controller:
        until(lambda: listed(controller) == [middle, oldest] and prepared.bucket.of(newest) == "t")
        assert prepared.bucket.of(oldest) == "mrt"
        prepared.agent.connect()
        prepared.agent.hello()
        fourth = backed_up(controller, prepared.agent, 4)
        request = operator_pb2.GetPointRequest(point=fourth)
        assert controller.backups.GetPoint(request).point.parent_point_id == middle


def test_what_is_left_of_a_point_that_the_database_never_saw_goes_too(prepared: Prepared, tmp_path: Path) -> None:
    """Else it would stop every collection: a manifest that nobody knows."""
    database = prepared.config.paths.database
    before = tmp_path / "before.sqlite"
    shutil.copy(database, before)
    with running(prepared.config) as controller:
        prepared.agent.connect()
        prepared.agent.hello()
        fourth, fifth = (backed_up(controller, prepared.agent, seed) for seed in (4, 5))
    with deletions(prepared.config, dying_at("announced")) as (dying, _, _), pytest.raises(Died):
        dying.delete([fourth])
    prepared.bucket.store.put(tombstone_name("default", VM_ID, fifth), b"signed by nobody")
    for name in database.parent.glob(f"{database.name}*"):
        name.unlink()
    shutil.copy(before, database)
    with running(prepared.config) as controller:
        until(lambda: prepared.bucket.of(fourth) == "t")
        assert listed(controller) == [fifth, *reversed(prepared.points)]  # what nobody signed forgets nothing
    assert prepared.bucket.of(fifth) == "mrt"


class _Seen:
    """A store that notes what is asked of it."""

    def __init__(self, inner: Store, calls: list[tuple[str, str]]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, method: str) -> object:
        value = getattr(self._inner, method)
        if not callable(value):
            return value

        def noted(name: str, *args: object, **fields: object) -> object:
            self._calls.append((method, name))
            return value(name, *args, **fields)

        return noted
