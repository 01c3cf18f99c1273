"""The catalogue of a controller whose database is gone, rebuilt from its bucket: what comes back, what a crash leaves, what is refused."""

import hashlib
import random
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, policy_pb2, user_pb2, user_pb2_grpc
from seawall.controller.config import ControllerConfig
from seawall.controller.database.opening import check_new
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import parse_address
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import ControllerError
from seawall.controller.initialise import initialise
from seawall.controller.records.known import Export
from seawall.controller.records.leadership import Replica
from seawall.controller.records.limits import Limit, Scope
from seawall.controller.records.maintenance import JobKind, JobState
from seawall.controller.recovering.command import RecoverCommand
from seawall.controller.recovering.exporting import export_of
from seawall.controller.recovering.packing import unpack_points
from seawall.controller.recovering.recovery import Order, Recovered
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import SystemClock
from seawall.repository.crypto.keys import new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.exports import newest_export
from seawall.repository.forgetting.leaders import newest_leader
from seawall.repository.format.condemn_log import CondemnLog, sign_condemn_log
from seawall.repository.format.keyfile import RECOVERY_WRAPPER
from seawall.repository.format.layout import condemned_name
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.recovery_sheet import RecoveryMaterial
from seawall.repository.repository import open_repository
from seawall.repository.store.folder import FolderStore
from support.collecting import TestedVm, awaited, collected, deleted, in_database, report_vms, restored, started
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk
from support.postgresql import PostgresServer
from support.stored_packs import stored_packs

MIB = 1 << 20
SIZE = 4 * MIB
DUE_US = 1_790_000_040_000_000
WEB, MAIL = "00000001-1111-4111-8111-111111111111", "00000002-1111-4111-8111-111111111111"
VMS = {WEB: ("web", SIZE), MAIL: ("mail", SIZE)}
QUICK = replace(
    BRISK,
    export_seconds=0.1,
    export_settle_seconds=0.05,
    export_look_seconds=0.1,
    collect_grace_seconds=0,
    move_settle_seconds=0.1,
)
POLICY = """policy: nightly
repository: main
select: {all: true}
schedule: {cron: "30 2 * * *", zone: Europe/Berlin}
retention: {last: 3, daily: 14}
"""


def quiet(_: Recovered) -> None:
    """Progress that nobody looks at."""


@dataclass
class World:
    """A controller that was, as its operators saw it, and its bucket."""

    config: ControllerConfig
    bucket: Path
    key: bytes
    agent: ScriptedAgent
    vms: list[TestedVm]
    shown: dict[str, Any]

    @property
    def order(self) -> Order:
        return Order(self.bucket.as_uri(), None, RecoveryMaterial(self.key, None))

    @property
    def export(self) -> Export:
        repository = open_repository(FolderStore(self.bucket), RECOVERY_WRAPPER, self.key)
        found = newest_export(repository)
        assert found is not None
        return export_of(found.document)

    def exported_all(self) -> bool:
        """Whether the newest export says what is shown."""
        try:
            found = self.export
        except AssertionError:
            return False
        facts = unpack_points(found.points)
        return len(facts) == 3 and all(each.verified for each in facts.values()) and len(found.settled.holds) == 1

    def lose_the_database(self) -> None:
        for file in self.config.state_dir.glob("controller.sqlite*"):
            file.unlink()
        shutil.rmtree(self.config.state_dir / "index", ignore_errors=True)

    def objects(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.bucket.rglob("*") if path.is_file()}


def added(controller: Controller, folder: Path, key: bytes, name: str = "main") -> None:
    folder.mkdir()
    request = operator_pb2.AddRepositoryRequest(
        request_id=str(uuid.uuid4()), name=name, url=folder.as_uri(), recovery_public_key=public_key_of(key)
    )
    controller.backups.AddRepository(request)


def limits_of(controller: Controller) -> limits_pb2_grpc.LimitServiceStub:
    return limits_pb2_grpc.LimitServiceStub(controller.channel)


def users_of(controller: Controller) -> user_pb2_grpc.UserServiceStub:
    return user_pb2_grpc.UserServiceStub(controller.channel)


def seen(controller: Controller) -> dict[str, Any]:
    """What operators are shown, without what a new start changes."""
    points = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
    return {
        "points": [
            (each.point_id, each.vm_id, each.vm_name, each.policy, [hold.reason for hold in each.holds], each.verified)
            for each in points
        ],
        "due": in_database(
            controller, lambda transaction: transaction.points.nominal_us([each.point_id for each in points])
        ),
        "policies": [
            (each.name, each.revision, each.document)
            for each in controller.policies.ListPolicies(policy_pb2.ListPoliciesRequest()).policies
        ],
        "limits": [
            (each.scope, each.transferring)
            for each in limits_of(controller).ListLimits(limits_pb2.ListLimitsRequest()).limits
        ],
        "users": [
            (each.name, each.role, each.token_created_at.ToMicroseconds())
            for each in users_of(controller).ListUsers(user_pb2.ListUsersRequest()).users
        ],
        "hosts": [each.name for each in controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts],
    }


def settle(controller: Controller, agent: ScriptedAgent, vms: list[TestedVm]) -> None:
    """Three points, one of them a policy's and one held; a policy, a limit, and everything verified."""
    noise = random.Random(7)
    for vm in (*vms, vms[0]):
        vm.disk.write(noise.randrange(MIB), noise.randbytes(MIB))
        vm.backup(controller)
    policies = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=POLICY, source="p.yaml")
    controller.policies.ApplyPolicies(policies)
    (policy,) = controller.policies.ListPolicies(policy_pb2.ListPoliciesRequest()).policies
    first, second = list(vms[0].points)
    in_database(controller, lambda transaction: transaction.known.give_policy(second, policy.policy_id, DUE_US))
    hold = operator_pb2.HoldPointsRequest(request_id=str(uuid.uuid4()), points=[first], reason="the auditors ask")
    controller.backups.HoldPoints(hold)
    for name, role in (("anna", user_pb2.ROLE_VIEWER), ("bert", user_pb2.ROLE_ADMIN)):
        digest = hashlib.sha256(name.encode()).digest()
        user = user_pb2.AddUserRequest(request_id=str(uuid.uuid4()), name=name, role=role, token_sha256=digest)
        users_of(controller).AddUser(user)
    users_of(controller).RemoveUser(user_pb2.RemoveUserRequest(request_id=str(uuid.uuid4()), name="bert"))
    limit = limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope="repository:main", transferring=3)
    limits_of(controller).SetLimit(limit)
    check = awaited(
        controller, started(controller, JobKind.CHECK, read_data_percent=100).id, lambda job: job.state.over
    )
    assert check.state is JobState.SUCCEEDED


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Stopped, its database still there."""
    folder = tmp_path_factory.mktemp("recovery")
    config, key, bucket = configured(folder / "state"), new_secret(), folder / "bucket"
    with running(config, QUICK) as controller:
        added(controller, bucket, key)
        agent = enrolled(controller, "alpha")
        report_vms(agent, VMS)
        vms = [TestedVm(agent, vm_id, name, ModelDisk(SIZE)) for vm_id, (name, _) in VMS.items()]
        settle(controller, agent, vms)
        shown = seen(controller)
        assert all(point[-1] for point in shown["points"])
        made = World(config, bucket, key, agent, vms, shown)
        deadline = time.monotonic() + 30
        while not made.exported_all():
            assert time.monotonic() < deadline, made.export
            time.sleep(0.05)
    return made


@pytest.fixture
def world(first: World, tmp_path: Path) -> World:
    """A copy of the first, bucket and all."""
    shutil.copytree(first.config.state_dir, tmp_path / "state")
    shutil.copytree(first.bucket, tmp_path / "bucket")
    config = replace(first.config, state_dir=tmp_path / "state")
    with sqlite3.connect(config.paths.database) as connection:
        connection.execute("UPDATE repositories SET url = ?", ((tmp_path / "bucket").as_uri(),))
    connection.close()
    return replace(first, config=config, bucket=tmp_path / "bucket", vms=deepcopy_of(first.vms))


def deepcopy_of(vms: list[TestedVm]) -> list[TestedVm]:
    """Their disks may be written to; the agent stays the one that it is."""
    return [replace(vm, disk=deepcopy(vm.disk), points=dict(vm.points)) for vm in vms]


def test_everything_comes_back_and_goes_on(world: World) -> None:
    """Into the same controller, its database gone: its hosts are who they were, and dedup goes on at once."""
    world.lose_the_database()
    found = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert (found.adopted.points, found.adopted.refused, found.put_back.must_join) == (3, {}, [])
    with running(world.config, QUICK) as controller:
        assert seen(controller) == world.shown
        agent = world.agent
        agent.hello()
        report_vms(agent, VMS, revision=2)
        for vm in world.vms:
            for point_id, blocks in vm.points.items():
                assert restored(controller, agent, point_id) == blocks
        web = world.vms[0]
        web.disk.write(3 * MIB, bytes(range(256)) * 16)
        point_id = web.backup(controller)
        new = controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point
        assert new.disks[0].new_bytes < MIB // 2, "the rest was there"
        assert restored(controller, agent, point_id) == web.points[point_id]
        deleted(controller, next(iter(world.vms[1].points)))
        assert collected(controller).state is JobState.SUCCEEDED
        assert restored(controller, agent, point_id) == web.points[point_id]


def test_another_controller_knows_the_hosts_by_name_and_lets_them_join(world: World, tmp_path: Path) -> None:
    """Keys, CA and database are gone. A host that joins anew reports its VMs, and what was verified need not be uploaded again."""
    other = configured(tmp_path / "other")
    found = RecoverCommand(other, SystemClock()).run(world.order, quiet)
    assert found.put_back.must_join == ["alpha"] and found.put_back.users == ["anna"]
    with running(other, QUICK) as controller:
        after = seen(controller)
        assert "alpha (before the recovery)" in after["hosts"]
        assert {each: after[each] for each in ("points", "policies", "limits", "users")} == {
            each: world.shown[each] for each in ("points", "policies", "limits", "users")
        }
        alpha = enrolled(controller, "alpha")
        report_vms(alpha, VMS)
        web = TestedVm(alpha, WEB, "web", world.vms[0].disk)
        point_id = web.backup(controller)
        new = controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point
        assert new.disks[0].new_bytes < MIB // 2
        assert restored(controller, alpha, point_id) == web.points[point_id]


@pytest.mark.slow
def test_a_recovery_that_dies_after_any_step_goes_on(world: World) -> None:
    world.lose_the_database()
    steps: list[str] = []
    RecoverCommand(world.config, SystemClock(), steps.append).run(world.order, quiet)
    whole = rows(world.config)
    assert len(steps) >= 7
    for last in range(len(steps)):
        world.lose_the_database()
        with pytest.raises(Killed):
            RecoverCommand(world.config, SystemClock(), Dying(last)).run(world.order, quiet)
        again = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
        assert again.adopted.points + again.adopted.known == 3
        assert rows(world.config) == whole, steps[last]


def test_a_plan_changes_nothing(world: World) -> None:
    world.lose_the_database()
    before = world.objects()
    found = RecoverCommand(world.config, SystemClock()).look(world.order)
    assert (found.points_found, found.vms_found, found.name) == (3, 2, "main")
    assert found.export is not None
    assert world.objects() == before
    assert rows(world.config) == ([], [], [])


def test_a_running_controller_and_another_key_are_refused(world: World) -> None:
    with running(world.config, QUICK), pytest.raises(ControllerError) as refused:
        RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert refused.value.reason == "DATABASE_IN_USE"
    world.lose_the_database()
    stranger = replace(world.order, material=RecoveryMaterial(new_secret(), None))
    with pytest.raises(ControllerError) as refused:
        RecoverCommand(world.config, SystemClock()).run(stranger, quiet)
    assert refused.value.reason == "FOREIGN_REPOSITORY"
    assert rows(world.config) == ([], [], [])


def test_damage_is_named_and_the_rest_comes_back(world: World) -> None:
    """A manifest that was overwritten, and the newest export."""
    world.lose_the_database()
    point_id = next(iter(world.vms[1].points))
    (manifest,) = (path for path in (world.bucket / "v1" / "m").rglob(point_id))
    manifest.write_bytes(manifest.read_bytes()[:-1])
    exports = sorted((world.bucket / "v1" / "c" / "export").iterdir())
    exports[-1].write_bytes(b"nothing of ours")
    found = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert list(found.adopted.refused) == [point_id]
    assert found.adopted.points == 2
    assert found.export is not None and found.export.name.endswith(exports[-2].name)
    assert len(found.notes) == 2


def test_without_an_export_the_points_come_back(world: World) -> None:
    world.lose_the_database()
    shutil.rmtree(world.bucket / "v1" / "c" / "export")
    found = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert (found.adopted.points, found.adopted.without_facts, found.export) == (3, 3, None)
    with running(world.config, QUICK) as controller:
        assert len(seen(controller)["points"]) == 3


def two_buckets(controller: Controller, world: World, second: Path) -> str:
    """Another repository with one point: its id."""
    added(controller, second, world.key, "offsite")
    world.agent.hello()
    report_vms(world.agent, VMS, revision=2)
    mail = world.vms[1]
    mail.disk.write(0, bytes(range(256)) * 64)
    run = controller.start_backup(mail.vm_id, repository="offsite")
    assert world.agent.backup({"vda": mail.disk.source()}, "full").point_id == run.run_id
    return run.run_id


def held(controller: Controller) -> dict[str, list[str]]:
    """Point -> reasons, of those that are held."""
    points = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
    return {each.point_id: [hold.reason for hold in each.holds] for each in points if each.holds}


@pytest.mark.parametrize("newest_first", [True, False])
def test_exports_of_different_age_give_all_that_any_of_them_knows(
    world: World, tmp_path: Path, newest_first: bool
) -> None:
    """One bucket could not be written to while its point was held and a policy made for it: the other one's export says so."""
    second, kept = tmp_path / "second", tmp_path / "kept"
    exports = second / "v1" / "c" / "export"
    with running(world.config, QUICK) as controller:
        point_id = two_buckets(controller, world, second)
        while not exports.exists() or not any(exports.iterdir()):
            time.sleep(0.05)
        shutil.copytree(exports, kept)
        hold = operator_pb2.HoldPointsRequest(request_id=str(uuid.uuid4()), points=[point_id], reason="a case")
        controller.backups.HoldPoints(hold)
        document = POLICY.replace("nightly", "weekly").replace("main", "offsite").replace("all: true", "names: [mail]")
        policies = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=document, source="p.yaml")
        controller.policies.ApplyPolicies(policies)
        shown, holds = seen(controller), held(controller)
        deadline = time.monotonic() + 30
        while len(world.export.settled.policies) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    shutil.rmtree(exports)
    shutil.copytree(kept, exports)
    world.lose_the_database()
    both = [world.order, replace(world.order, url=second.as_uri())]
    for order in both if newest_first else reversed(both):
        RecoverCommand(world.config, SystemClock()).run(order, quiet)
    with running(world.config, QUICK) as controller:
        assert held(controller) == holds and len(holds) == 2
        assert seen(controller)["policies"] == shown["policies"]


@pytest.mark.slow
def test_what_a_controller_exported_since_its_recovery_hides_nothing(world: World, tmp_path: Path) -> None:
    """The first bucket is recovered without the newest limit, and used for a while; then comes the one whose export has it."""
    second, kept = tmp_path / "second", tmp_path / "kept"
    exports = second / "v1" / "c" / "export"
    with running(world.config, QUICK) as controller:
        two_buckets(controller, world, second)
        until(lambda: exports.exists() and any(exports.iterdir()))
        shutil.copytree(exports, kept)
        limit = limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope="global", transferring=5)
        limits_of(controller).SetLimit(limit)
        until(lambda: any(each.scope == "GLOBAL" for each in world.export.settled.limits))
    shutil.rmtree(exports)
    shutil.copytree(kept, exports)
    world.lose_the_database()
    RecoverCommand(world.config, SystemClock()).run(replace(world.order, url=second.as_uri()), quiet)
    before = set(exports.iterdir())
    with running(world.config, QUICK):
        until(lambda: bool(set(exports.iterdir()) - before))
    RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    _, _, decisions = rows(world.config)
    assert [each.value for each in decisions if isinstance(each, Limit) and each.scope is Scope.GLOBAL] == [5]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_export_that_cannot_be_read_just_now_is_named(world: World, tmp_path: Path) -> None:
    second = tmp_path / "second"
    with running(world.config, QUICK) as controller:
        two_buckets(controller, world, second)
    world.lose_the_database()
    RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    world.bucket.rename(tmp_path / "away")
    found = RecoverCommand(world.config, SystemClock()).run(replace(world.order, url=second.as_uri()), quiet)
    assert found.adopted.points == 1
    assert any("The export of main could not be read" in note for note in found.notes)


def test_into_a_database_that_controllers_share(world: World, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """While none of them leads: one that does is not disturbed."""
    with postgres_server.database("template0") as address:
        config = replace(
            configured(tmp_path / "plain"),
            state_dir=tmp_path / "shared",
            database=address.url,
            timings=replace(QUICK, leader_lease_seconds=1.5),
        )
        check_new(config)
        initialise(config, SystemClock())
        with leading(config), pytest.raises(ControllerError) as refused:
            RecoverCommand(config, SystemClock()).run(world.order, quiet)
        assert refused.value.reason == "CONTROLLER_RUNS"
        found = RecoverCommand(config, SystemClock()).run(world.order, quiet)
        assert (found.adopted.points, found.put_back.must_join) == (3, ["alpha"])
        again = RecoverCommand(config, SystemClock()).run(world.order, quiet)
        assert (again.adopted.points, again.adopted.known) == (0, 3)


def test_what_was_condemned_and_lies_there_still_is_named_by_nobody(world: World) -> None:
    """Half of a pack left with a point that was deleted; the other half is needed. It was announced, and nothing removed yet."""
    with running(world.config, replace(QUICK, collect_grace_seconds=3600)) as controller:
        agent, web = world.agent, world.vms[0]
        agent.hello()
        report_vms(agent, VMS, revision=2)
        gone, stays = list(web.points)
        controller.backups.ReleasePoints(operator_pb2.ReleasePointsRequest(request_id=str(uuid.uuid4()), points=[gone]))
        deleted(controller, gone)
        assert collected(controller).state is JobState.SUCCEEDED
    before = condemned(world.config)
    assert any(0 < len(slots) < count for slots, count in before.values()), "a pack of which a part is needed"
    announced(world, {pack_id: slots for pack_id, (slots, _) in before.items() if slots})
    world.lose_the_database()
    found = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert (found.adopted.points, found.adopted.refused) == (2, {})
    after = condemned(world.config)
    assert after == {pack_id: before[pack_id] for pack_id in after}
    with sqlite3.connect(world.config.paths.database) as connection:
        waiting = connection.execute("SELECT id FROM packs WHERE condemned_us > 0").fetchall()
    connection.close()
    assert {row[0] for row in waiting} == {pack_id for pack_id, (slots, _) in after.items() if slots}, (
        "collected some day"
    )
    with running(world.config, QUICK) as controller:
        agent.hello()
        report_vms(agent, VMS, revision=3)
        assert restored(controller, agent, stays) == web.points[stays]


def test_a_log_that_came_too_late_costs_no_point(world: World) -> None:
    """It names all that the points need. No leader counted it, and an empty database cannot know that."""
    before = condemned(world.config)
    announced(world, {pack_id: SlotSet.first(count) for pack_id, (_, count) in before.items()})
    world.lose_the_database()
    found = RecoverCommand(world.config, SystemClock()).run(world.order, quiet)
    assert (found.adopted.points, found.adopted.refused) == (3, {})
    with running(world.config, QUICK) as controller:
        world.agent.hello()
        report_vms(world.agent, VMS, revision=2)
        for vm in world.vms:
            for point_id, blocks in vm.points.items():
                assert restored(controller, world.agent, point_id) == blocks
        assert world.vms[0].backup(controller)


def announced(world: World, slots: dict[bytes, SlotSet]) -> None:
    """A condemn log of the last leader: of an earlier one it would be void."""
    repository = open_repository(FolderStore(world.bucket), RECOVERY_WRAPPER, world.key)
    epoch = newest_leader(repository.store).epoch
    log = CondemnLog(repository.config.lineage_id, 900, epoch, slots)
    repository.store.put(condemned_name(900, epoch), sign_condemn_log(log, repository.secrets.signing_secret_key))


def condemned(config: ControllerConfig) -> dict[bytes, tuple[SlotSet, int]]:
    """Pack -> (its condemned slots, all of them), of STORED packs."""
    database = SqliteDatabase(config.paths.database, config.paths.lock)
    try:
        (record,) = database.read_now(lambda transaction: transaction.repositories.repositories())
        packs = database.read_now(lambda transaction: stored_packs(transaction, record.id))
        return {pack.id: (pack.condemned, pack.slots) for pack in packs}
    finally:
        database.close()


@contextmanager
def leading(config: ControllerConfig) -> Iterator[None]:
    """Another controller renews its lease meanwhile, in a thread. It has a connection, as every controller."""
    database = PostgresqlDatabase(parse_address(config.database), holder="another")
    done = threading.Event()

    def renew(transaction: Transaction) -> None:
        row = transaction.leadership.lease()
        replica = Replica("another", "1", "127.0.0.1:1", "127.0.0.1:2")
        transaction.leadership.take(row, replica, time.time_ns() // 1000, 1)

    def keep() -> None:
        while not done.wait(0.1):
            database.write_now(renew)

    database.write_now(renew)
    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        database.close()


@pytest.mark.slow
def test_exports_follow_what_operators_do_and_stay_few(world: World) -> None:
    with running(world.config, QUICK) as controller:
        for number in range(12):
            limit = limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope="global", transferring=number + 1)
            limits_of(controller).SetLimit(limit)
            deadline = time.monotonic() + 30
            while (number + 1) not in [each.value for each in world.export.settled.limits if each.scope == "GLOBAL"]:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    assert 1 < len(list((world.bucket / "v1" / "c" / "export").iterdir())) <= 9


class Killed(BaseException):
    """No `except Exception` meets it."""


class Dying:
    """Ends the work at the step of that number."""

    def __init__(self, last: int) -> None:
        self._left = last

    def __call__(self, step: str) -> None:
        if self._left == 0:
            raise Killed(step)
        self._left -= 1


def rows(config: ControllerConfig) -> tuple[list[Any], list[Any], list[Any]]:
    """Points, packs and decisions, without what belongs to one recovery alone: times and ids that it made."""
    database = SqliteDatabase(config.paths.database, config.paths.lock)

    def read(transaction: Transaction) -> tuple[list[Any], list[Any], list[Any]]:
        records = transaction.repositories.repositories()
        points = [
            (each.id, each.vm_id, each.host_id, each.policy_id, each.state, each.verified)
            for each in transaction.points.points()
        ]
        packs = [
            (pack.id, pack.host_id, pack.slots, pack.generation, pack.condemned, pack.verified)
            for record in records
            for pack in stored_packs(transaction, record.id)
        ]
        decisions = [
            *transaction.known.holds(),
            *transaction.limits.limits(),
            *(each.name for each in transaction.policies.policies()),
            *(each.id for each in transaction.known.hosts()),
        ]
        return points, packs, decisions

    try:
        return database.read_now(read)
    finally:
        database.close()
