"""Last night's database is put back under a whole controller: what operators decided since comes from the bucket before anything goes."""

import hashlib
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, policy_pb2, user_pb2, user_pb2_grpc
from seawall.controller.config import ControllerConfig
from seawall.controller.database.opening import check_new, open_database
from seawall.controller.database.tables import restore_points
from seawall.controller.initialise import initialise
from seawall.controller.records.known import Export, Exported, Settled
from seawall.controller.recovering.exporting import export_of
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import SystemClock
from seawall.repository.crypto.keys import new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.exports import newest_export
from seawall.repository.format.keyfile import RECOVERY_WRAPPER
from seawall.repository.repository import open_repository
from seawall.repository.store.folder import FolderStore
from support.collecting import TestedVm, in_database, report_vms
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, reason_of, running, with_token
from support.memory_disks import ModelDisk
from support.postgresql import PostgresServer

MIB = 1 << 20
WEB = "00000001-1111-4111-8111-111111111111"
QUICK = replace(BRISK, export_seconds=0.1, export_settle_seconds=0.05, export_look_seconds=0.1)
POLICY = """policy: nightly
repository: main
select: {{all: true}}
schedule: {{cron: "30 2 * * *", zone: Europe/Berlin}}
retention: {{last: {last}}}
"""


def new_id() -> str:
    return str(uuid.uuid4())


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Place:
    """A controller's state, its bucket, and copies of its database. `server`: of a PostgreSQL database, else it is SQLite's file."""

    config: ControllerConfig
    folder: Path
    server: PostgresServer | None
    key: bytes = field(default_factory=new_secret)
    points: list[str] = field(default_factory=list)

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    @property
    def exports(self) -> Path:
        return self.bucket / "v1" / "c" / "export"

    @property
    def name(self) -> str:
        return self.config.database.rpartition("/")[2]

    @contextmanager
    def running(self) -> Iterator[Controller]:
        with running(self.config, self.config.timings) as controller:
            until(lambda: controller.application._lease.held)
            yield controller

    def copy(self) -> None:
        """While no controller runs."""
        if self.server is not None:
            self.server.sql(f"CREATE DATABASE {self.name}_copy TEMPLATE {self.name}")
            return
        source, target = self.config.paths.database, self.folder / "copy.sqlite"
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)

    def put_back(self) -> None:
        if self.server is not None:
            self.server.sql(f"DROP DATABASE {self.name} WITH (FORCE)")
            self.server.sql(f"CREATE DATABASE {self.name} TEMPLATE {self.name}_copy")
            return
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.config.paths.database}{suffix}").unlink(missing_ok=True)
        shutil.copy(self.folder / "copy.sqlite", self.config.paths.database)

    def write(self, closure: Callable[[Transaction], None]) -> None:
        """While no controller runs."""
        with closing(open_database(self.config)) as database:
            database.write_now(closure)

    @property
    def exported(self) -> Export:
        return self.exported_in(self.bucket)

    def exported_in(self, bucket: Path) -> Export:
        found = newest_export(open_repository(FolderStore(bucket), RECOVERY_WRAPPER, self.key))
        return export_of(found.document) if found else Export("", "", Settled())


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    config = replace(configured(tmp_path / "state"), timings=QUICK)
    if request.param == "sqlite":
        yield Place(config, tmp_path, None)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database("template0") as address:
        shared = replace(config, state_dir=tmp_path / "shared", database=address.url)
        check_new(shared)
        initialise(shared, SystemClock())
        made = Place(shared, tmp_path, server)
        try:
            yield made
        finally:
            server.sql(f"DROP DATABASE IF EXISTS {made.name}_copy WITH (FORCE)")


def begun(place: Place, controller: Controller, points: int = 2) -> tuple[ScriptedAgent, ScriptedAgent]:
    """A repository, hosts alpha and beta, points of alpha's VM that nobody fired, and a policy that would keep the newest alone."""
    added(place, controller, place.bucket, "main")
    alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    report_vms(alpha, {WEB: ("web", MIB)})
    web = TestedVm(alpha, WEB, "web", ModelDisk(MIB))
    for number in range(points):
        web.disk.write(number * 4096, bytes([number + 1]) * 4096)
        place.points.append(web.backup(controller))
    # Scripted agents live in the future, which no retention judges.
    past = sa.update(restore_points).values(instant_us=restore_points.c.published_us)
    controller.application._database.write_sql(lambda connection: connection.execute(past))
    applied(controller, last=1)
    return alpha, beta


def added(place: Place, controller: Controller, bucket: Path, name: str) -> None:
    bucket.mkdir()
    request = operator_pb2.AddRepositoryRequest(
        request_id=new_id(), name=name, url=bucket.as_uri(), recovery_public_key=public_key_of(place.key)
    )
    controller.backups.AddRepository(request)


def applied(controller: Controller, last: int) -> None:
    document = POLICY.format(last=last)
    request = policy_pb2.ApplyPoliciesRequest(request_id=new_id(), document=document, source="nightly.yaml")
    controller.policies.ApplyPolicies(request)


def limited(controller: Controller, number: int) -> None:
    limits = limits_pb2_grpc.LimitServiceStub(controller.channel)
    limits.SetLimit(limits_pb2.SetLimitRequest(request_id=new_id(), scope="global", transferring=number))


def users_of(controller: Controller) -> user_pb2_grpc.UserServiceStub:
    return user_pb2_grpc.UserServiceStub(controller.channel)


def added_user(controller: Controller, name: str) -> None:
    """A viewer, whose token is the name."""
    digest = hashlib.sha256(name.encode()).digest()
    request = user_pb2.AddUserRequest(request_id=new_id(), name=name, role=user_pb2.ROLE_VIEWER, token_sha256=digest)
    users_of(controller).AddUser(request)


def hold(controller: Controller, point_id: str) -> None:
    controller.backups.HoldPoints(
        operator_pb2.HoldPointsRequest(request_id=new_id(), points=[point_id], reason="lawsuit")
    )


def seen(controller: Controller) -> dict[str, object]:
    points = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
    limits = limits_pb2_grpc.LimitServiceStub(controller.channel).ListLimits(limits_pb2.ListLimitsRequest()).limits
    policies = controller.policies.ListPolicies(policy_pb2.ListPoliciesRequest()).policies
    hosts = controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts
    users = users_of(controller).ListUsers(user_pb2.ListUsersRequest()).users
    return {
        "users": [(each.name, each.role) for each in users],
        "points": {each.point_id: [hold.reason for hold in each.holds] for each in points},
        "limits": [(each.scope, each.transferring) for each in limits],
        "policies": [(each.name, each.revision) for each in policies],
        "hosts": {each.name: each.revoked for each in hosts},
    }


def listed(controller: Controller) -> set[str]:
    return {each.point_id for each in controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points}


def troubles(controller: Controller) -> str:
    return " ".join(controller.backups.GetStatus(operator_pb2.GetStatusRequest()).troubles)


def settled(controller: Controller) -> bool:
    return not in_database(controller, controller.application._repositories.decisions.unsettled)


def swept(controller: Controller) -> None:
    """Retention looked at everything."""
    until(lambda: settled(controller))
    time.sleep(4 * QUICK.scheduler_interval_seconds)


def exported_rows(controller: Controller) -> list[Exported]:
    return in_database(controller, lambda transaction: list(transaction.known.exported()))


def test_what_operators_decided_since_counts_again(place: Place) -> None:
    """A hold, a revocation, a host that joined, a policy, a limit, users: each of them is younger than the database that comes back."""
    with place.running() as controller:
        _, beta = begun(place, controller)
        limited(controller, 3)
        added_user(controller, "anna")
        added_user(controller, "bert")
    place.copy()
    with place.running() as controller:
        hold(controller, place.points[0])
        applied(controller, last=5)
        limited(controller, 7)
        raised = user_pb2.SetUserRequest(request_id=new_id(), name="anna", role=user_pb2.ROLE_OPERATOR)
        users_of(controller).SetUser(raised)
        users_of(controller).RemoveUser(user_pb2.RemoveUserRequest(request_id=new_id(), name="bert"))
        added_user(controller, "cleo")
        gamma = enrolled(controller, "gamma")
        controller.admin.RevokeHost(operator_pb2.RevokeHostRequest(request_id=new_id(), host="beta"))
        shown = seen(controller)
        until(lambda: bool(place.exported.settled.holds) and any(host.revoked for host in place.exported.settled.hosts))
    written = set(place.exports.iterdir())
    place.put_back()
    with place.running() as controller:
        until(lambda: settled(controller))
        assert seen(controller) == shown
        with pytest.raises(grpc.RpcError) as refused:
            beta.connect()
            beta.hello()
        assert reason_of(refused.value) == "AGENT_REVOKED"
        gamma.connect()
        gamma.hello()
        with with_token(controller, "bert") as channel, pytest.raises(grpc.RpcError) as refused:
            user_pb2_grpc.UserServiceStub(channel).GetCaller(user_pb2.GetCallerRequest())
        assert reason_of(refused.value) == "BAD_TOKEN"
        delete = operator_pb2.DeletePointsRequest(request_id=new_id(), points=[place.points[0]])
        with pytest.raises(grpc.RpcError) as refused:
            controller.backups.DeletePoints(delete)
        assert reason_of(refused.value) == "POINT_PINNED"
        told = troubles(controller)
        assert "The database was older" in told and "gamma" in told and "beta" in told and "nightly" in told
        assert "users: anna, bert, cleo" in told
        applied(controller, last=6)
        until(lambda: set(place.exports.iterdir()) > written or not written <= set(place.exports.iterdir()))
    assert [each.id for each in place.exported.settled.hosts if each.revoked] == [beta.agent_id]
    with place.running() as controller:
        swept(controller)
        assert troubles(controller).count("The database was older") == 1, "of the start before; this one found nothing"


def given(place: Place) -> Callable[[Transaction], None]:
    """All points are the policy's."""

    def closure(transaction: Transaction) -> None:
        (policy,) = transaction.policies.policies()
        for point_id in place.points:
            transaction.known.give_policy(point_id, policy.id)

    return closure


def older(place: Place, *others: Path) -> None:
    """A database put back whose policy would keep one point of three, and the buckets know of a policy that keeps all."""
    with place.running() as controller:
        begun(place, controller, points=3)
        for bucket in others:
            added(place, controller, bucket, bucket.name)
    place.copy()
    with place.running() as controller:
        applied(controller, last=5)
        in_database(controller, given(place))
        for bucket in (place.bucket, *others):
            until(lambda here=bucket: [each.revision for each in place.exported_in(here).settled.policies] == [2])  # type: ignore[misc]
    place.put_back()
    place.write(given(place))


def test_what_the_newer_policy_keeps_is_not_deleted_by_the_older_one(place: Place) -> None:
    older(place)
    with place.running() as controller:
        swept(controller)
        assert listed(controller) == set(place.points)
        applied(controller, last=2)
        until(lambda: listed(controller) == set(place.points[1:]))


def test_nothing_expires_while_a_newer_export_cannot_be_read(place: Place) -> None:
    older(place)
    newest = max(place.exports.iterdir())
    whole = newest.read_bytes()
    for each in place.exports.iterdir():
        if each != newest:
            each.unlink()
    newest.write_bytes(whole[:-1])
    with place.running() as controller:
        until(lambda: "cannot be read" in troubles(controller))
        time.sleep(4 * QUICK.scheduler_interval_seconds)
        assert listed(controller) == set(place.points)
        assert newest.name in troubles(controller)
        assert [each.name for each in place.exports.iterdir()] == [newest.name], "an older export would hide it"
        newest.write_bytes(whole)
        swept(controller)
        assert listed(controller) == set(place.points)
        assert "cannot be read" not in troubles(controller) and "The database was older" in troubles(controller)


def test_once_the_unread_export_is_removed_retention_goes_on(place: Place) -> None:
    """So that it was what held it back; and what it alone knew is lost."""
    older(place)
    for each in place.exports.iterdir():
        each.write_bytes(b"SEAWEXPT and nothing else")
    with place.running() as controller:
        until(lambda: "cannot be read" in troubles(controller))
        assert listed(controller) == set(place.points)
        for each in place.exports.iterdir():
            each.unlink()
        until(lambda: listed(controller) == set(place.points[-1:]))


def test_nothing_expires_while_a_bucket_is_away(place: Place) -> None:
    """It alone knows of the newer policy: the one with the points could not be written then."""
    second = place.folder / "second"
    older(place, second)
    for each in place.exports.iterdir():
        each.unlink()
    second.rename(place.folder / "away")
    with place.running() as controller:
        until(lambda: "second cannot be looked at" in troubles(controller))
        time.sleep(4 * QUICK.scheduler_interval_seconds)
        assert listed(controller) == set(place.points)
        (place.folder / "away").rename(second)
        swept(controller)
        assert listed(controller) == set(place.points)
        assert seen(controller)["policies"] == [("nightly", 2)]


def test_a_database_that_is_not_older_is_left_alone(place: Place) -> None:
    with place.running() as controller:
        begun(place, controller)
        hold(controller, place.points[0])
        until(lambda: bool(place.exported.settled.holds))
        until(lambda: bool(exported_rows(controller)[0].document_hash))
        time.sleep(4 * QUICK.export_look_seconds)
        rows, exports = exported_rows(controller), set(place.exports.iterdir())
    with place.running() as controller:
        swept(controller)
        assert (exported_rows(controller), set(place.exports.iterdir())) == (rows, exports)
        assert troubles(controller) == ""
