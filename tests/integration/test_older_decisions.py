"""An export that is newer than the database: what comes back, what stays, which of several counts; on both engines."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from blake3 import blake3

from seawall.controller.config import StatePaths
from seawall.controller.database.database import Database
from seawall.controller.errors import Unavailable
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import PointState, RepositoryRecord
from seawall.controller.records.known import (
    Export,
    Exported,
    KnownApart,
    KnownHost,
    KnownLimit,
    KnownPoint,
    KnownPolicy,
    KnownRepository,
    KnownSettings,
    KnownUser,
    Settled,
)
from seawall.controller.records.limits import Limit, Measure, Scope, Service
from seawall.controller.records.policies import Hold, Policy
from seawall.controller.records.runs import RunState
from seawall.controller.records.settings import CaptureSettings, VmSettings
from seawall.controller.records.users import Role, User
from seawall.controller.recovering.decisions import AWAY_US, LAST_NUMBER, Decisions, troubles
from seawall.controller.recovering.exporter import Exporter
from seawall.controller.recovering.exporting import document_of, settled
from seawall.controller.recovering.packing import pack_points
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.crypto.keys import new_secret, new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.exports import put_export
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import export_name
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.store.memory import MemoryStore
from support.controller_clock import ManualClock
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW, a_point, a_repository, a_run, a_vm, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

CLUSTER = "cluster-1"
POLICY = a_policy("retention: {last: 1}")
DUE_US = 1_799_999_940_000_000
LIMIT = Limit(Scope.GLOBAL, "", Measure.TRANSFERRING, 3)
WRITTEN = (3, 5)
"""The last export that the database knows that it wrote."""


def bucket(number: int) -> OpenRepository:
    recipients = {"controller": public_key_of(new_secret()), "recovery": public_key_of(new_secret())}
    return create_repository(
        MemoryStore(f"memory://{number}"),
        lineage_id=bytes([number]) * 16,
        chunk_nominal_bytes=65536,
        recipients=recipients,
        secrets=new_secrets(),
    )


@dataclass
class Scene:
    """A database as it was put back, and two buckets. `later` is what the first export of the lost time says."""

    database: Database
    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        add_hosts(self.database, "alpha", "beta")
        self.records = [a_repository(), replace(a_repository("other", "repository-2"), url="memory://2")]
        self.buckets = [bucket(1), bucket(2)]
        self.database.write_now(self._fill)
        self.paths = StatePaths(self.folder / "state")
        self.paths.state_dir.mkdir()
        self.paths.cluster_id.write_text(CLUSTER)
        self.written = self.database.read_now(lambda transaction: settled(transaction, CLUSTER))
        self.export(self.written, WRITTEN, NOW)
        self.export(self.written, WRITTEN, NOW, 1)
        self.lead()
        for number in (0, 1):
            self.note(number)

    def _fill(self, transaction: Transaction) -> None:
        for record in self.records:
            transaction.repositories.add_repository(record)
        transaction.fleet.replace_inventory("alpha", 1, [a_vm("vm-1"), a_vm("vm-2", name="db")])
        transaction.policies.add_policy(POLICY)
        transaction.limits.set_limit(LIMIT)
        for number, repository_id in ((1, "repository"), (2, "repository"), (3, "repository-2")):
            add_point(transaction, number, repository_id)

    def lead(self) -> None:
        """A controller that begins."""
        self.lease = LeaderLease(self.database, SteadyClock(self.clock), Timings())
        asyncio.run(self.lease.acquire())
        self.decisions = Decisions(self.database, self.lease, self.clock, self.paths)

    def note(self, number: int) -> None:
        """The database knows what lies in this bucket."""
        digest = blake3(self.document(self.written, number)).digest()
        self.decisions.begin_export(self.records[number], WRITTEN, digest, NOW)

    def document(self, known: Settled, number: int, points: tuple[KnownPoint, ...] = ()) -> bytes:
        record: RepositoryRecord = self.records[number]
        return document_of(Export(record.id, record.name, known, points=pack_points(points)))

    def export(
        self,
        known: Settled,
        place: tuple[int, int],
        exported_us: int,
        number: int = 0,
        points: tuple[KnownPoint, ...] = (),
    ) -> None:
        put_export(self.buckets[number], *place, self.document(known, number, points), exported_us)

    def look(self, *numbers: int) -> None:
        for number in numbers or (0, 1):
            self.decisions.look_again(self.buckets[number], self.records[number])

    @property
    def now(self) -> Settled:
        return self.database.read_now(lambda transaction: settled(transaction, CLUSTER))

    def row(self, number: int = 0) -> Exported:
        known = self.database.read_now(lambda transaction: transaction.known.exported())
        return next(each for each in known if each.repository_id == self.records[number].id)

    def unsettled(self) -> list[str]:
        return self.database.read_now(self.decisions.unsettled)

    def troubles(self) -> str:
        return " ".join(self.database.read_now(lambda transaction: troubles(transaction, self.clock.now_us())))


def point_id(number: int) -> str:
    return a_run(number).id


def add_point(transaction: Transaction, number: int, repository_id: str) -> None:
    run = a_run(number, state=RunState.SUCCEEDED, repository_id=repository_id)
    attempt = replace(an_execution().attempt, id=f"attempt-{number}", run_id=run.id)
    transaction.runs.add_run(run)
    transaction.runs.add_attempt(attempt)
    known = {"state": PointState.AVAILABLE, "intent": None, "policy_id": "", "seq": number}
    transaction.points.add_point(a_point(run, attempt.id, published_us=NOW, **known))


@pytest.fixture(params=ENGINES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with open_engine(request.param, request, tmp_path) as database:
        yield Scene(database, tmp_path)


def renewed(policy: Policy, text: str, **fields: int) -> KnownPolicy:
    spec = a_policy(text).spec
    known = KnownPolicy(policy.id, policy.revision + 1, spec, policy.repository_id, policy.created_us, NOW + 1)
    return replace(known, **fields)  # type: ignore[arg-type]


def test_all_that_was_decided_since_comes_back(scene: Scene) -> None:
    """Holds, revocations, hosts, certificates, policies, limits, groups, settings, cordons; and what was taken back goes again."""
    scene.database.write_now(
        lambda transaction: transaction.limits.set_limit(Limit(Scope.SITE, "north", Measure.TRANSFERRING, 2))
    )
    gamma = KnownHost("gamma", "gamma", first_key_sha256="11" * 32, public_key_sha256="12" * 32, certificate_pem="new")
    alpha, beta = scene.written.hosts
    certificate = {"certificate_pem": "renewed", "certificate_expires_us": NOW + 9, "public_key_sha256": "22" * 32}
    alpha = replace(alpha, site="south", service=Service.CORDONED.value, **certificate)  # type: ignore[arg-type]
    weekly = KnownPolicy("policy-2", 1, a_policy(name="weekly").spec, "repository", NOW, NOW)
    later = replace(
        scene.written,
        hosts=(alpha, replace(beta, revoked=True), gamma),
        policies=(renewed(POLICY, "retention: {last: 5}"), weekly),
        limits=(KnownLimit("GLOBAL", "", "TRANSFERRING", 7),),
        apart=(KnownApart("cluster", "vm-1"), KnownApart("cluster", "vm-2")),
        settings=(KnownSettings("vm-1", VmSettings(CaptureSettings(iops=9), True, "scratch")),),
        holds=(Hold(point_id(1), "lawsuit", NOW),),
    )
    scene.export(later, (3, 6), NOW + 1, points=(KnownPoint(point_id(2), "alpha", POLICY.id, nominal_us=DUE_US),))
    scene.look()
    now = scene.now
    assert (now.hosts, now.limits, now.apart, now.settings, now.holds) == (
        later.hosts,
        later.limits,
        later.apart,
        later.settings,
        later.holds,
    )
    assert [(each.id, each.revision, each.spec) for each in now.policies] == [
        (each.id, each.revision, each.spec) for each in later.policies
    ]
    points = scene.database.read_now(lambda transaction: transaction.known.points("repository"))
    assert {each.id: (each.policy_id, each.nominal_us) for each in points} == {
        point_id(1): ("", 0),
        point_id(2): (POLICY.id, DUE_US),
    }
    due = scene.database.read_now(lambda transaction: transaction.points.nominal_us([point_id(1), point_id(2)]))
    assert due == {point_id(2): DUE_US}, "retention names its days as it did before"
    told = scene.troubles()
    for word in ("repository main", "joined: gamma", "revoked: beta", "nightly", "weekly", point_id(1), "limits: 2"):
        assert word in told, (word, told)
    assert scene.unsettled() == []
    assert scene.row().place == (3, 6)


def test_what_is_known_is_not_touched(scene: Scene) -> None:
    """What operators did after the last export was written is in the database, which is not older."""
    scene.database.write_now(lambda transaction: transaction.limits.set_limit(replace_value(LIMIT, 9)))
    before, rows = scene.now, (scene.row(0), scene.row(1))
    scene.look()
    assert (scene.now, (scene.row(0), scene.row(1))) == (before, rows)
    assert scene.unsettled() == [] and scene.troubles() == ""


def test_points_that_came_back_are_told_for_a_week(scene: Scene) -> None:
    """Also where no decision was lost; and at a controller that took over, as it is in the database."""
    found = scene.decisions.before_points(scene.buckets[0], scene.records[0])
    scene.decisions.after_points(found, [point_id(1), point_id(2)])
    told = scene.troubles()
    assert "The database did not know all of repository main" in told and "restore points: 2." in told
    assert scene.row().place == WRITTEN
    scene.lead()
    assert scene.troubles() == told
    scene.clock.advance(7 * 86_400)
    assert scene.troubles() == ""


def replace_value(limit: Limit, value: int) -> Limit:
    return limit._replace(value=value)


def test_another_document_in_the_known_place_is_of_another_time(scene: Scene) -> None:
    digest = blake3(b"what this database wrote").digest()
    scene.decisions.begin_export(scene.records[0], WRITTEN, digest, NOW)
    scene.export(replace(scene.written, holds=(Hold(point_id(1), "lawsuit", NOW),)), (3, 4), NOW)
    scene.look(0)
    assert scene.now.holds == () and "older" in scene.troubles(), "the one in that place counts, not an older one"


def test_a_place_that_was_never_written_is_known_all_the_same(scene: Scene) -> None:
    """Killed between the word in the database and the bucket."""
    scene.decisions.begin_export(scene.records[0], (3, 6), b"x" * 32, NOW)
    scene.look(0)
    assert scene.row().place == (3, 6) and scene.troubles() == ""


def test_what_only_this_database_holds_or_revoked_stays(scene: Scene) -> None:
    hold = Hold(point_id(2), "mine", NOW)

    def closure(transaction: Transaction) -> None:
        transaction.policies.hold(hold)
        _, beta = transaction.known.hosts()
        transaction.known.save_host(replace(beta, revoked=True))

    scene.database.write_now(closure)
    theirs = Hold(point_id(1), "theirs", NOW)
    scene.export(replace(scene.written, holds=(theirs,)), (3, 6), NOW + 1)
    scene.look()
    assert set(scene.now.holds) == {hold, theirs}
    assert [each.revoked for each in scene.now.hosts] == [False, True]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_of_several_buckets_counts_and_holds_of_all(scene: Scene, order: tuple[int, int]) -> None:
    """The first was away when the last limit was set; the hold of a point in the second is known to it alone."""
    first = replace(
        scene.written,
        limits=(KnownLimit("GLOBAL", "", "TRANSFERRING", 4),),
        holds=(Hold(point_id(3), "theirs", NOW),),
    )
    second = replace(scene.written, limits=(KnownLimit("GLOBAL", "", "TRANSFERRING", 8),))
    scene.export(first, (3, 9), NOW + 1)
    scene.export(second, (3, 6), NOW + 2, number=1)
    scene.look(*order)
    assert [limit.value for limit in scene.now.limits] == [8]
    assert [each.point_id for each in scene.now.holds] == [point_id(3)]


def test_a_hold_waits_for_its_point(scene: Scene) -> None:
    """Of a repository that is opened later, and whose points the database does not know before."""
    scene.export(replace(scene.written, holds=(Hold(point_id(4), "theirs", NOW),)), (3, 6), NOW + 1)
    scene.look(0)
    assert not any(scene.now.holds)
    scene.database.write_now(lambda transaction: add_point(transaction, 4, "repository-2"))
    scene.look(1)
    assert [each.point_id for each in scene.now.holds] == [point_id(4)]


def test_a_hold_waits_for_its_point_over_a_restart(scene: Scene) -> None:
    """What the export knows of limits counts once: it must not come back over what an operator said meanwhile."""
    later = replace(
        scene.written,
        limits=(KnownLimit("GLOBAL", "", "TRANSFERRING", 4),),
        holds=(Hold(point_id(4), "theirs", NOW),),
    )
    scene.export(later, (4, 1), NOW + 1)
    scene.look(0)
    assert not scene.decisions.may_be_written("repository"), "a new export would hide the hold"
    told = scene.row().put_back
    scene.look(0)
    assert scene.row().put_back == told, "once"
    scene.database.write_now(lambda transaction: transaction.limits.set_limit(replace_value(LIMIT, 5)))
    scene.lead()
    scene.look(0)
    assert [limit.value for limit in scene.now.limits] == [5]
    scene.database.write_now(lambda transaction: add_point(transaction, 4, "repository-2"))
    scene.look(1)
    assert [each.point_id for each in scene.now.holds] == [point_id(4)]
    assert scene.row().place == (4, 1) and scene.decisions.may_be_written("repository")
    before = scene.row()
    scene.lead()
    scene.look()
    assert scene.row() == before


def test_holds_of_a_bucket_that_is_away_are_given_up_after_a_week(scene: Scene) -> None:
    scene.export(replace(scene.written, holds=(Hold(point_id(4), "theirs", NOW),)), (3, 6), NOW + 1)
    scene.look(0)
    away(scene, 1)
    assert not scene.decisions.may_be_written("repository")
    scene.clock.advance(AWAY_US / 1e6)
    assert scene.decisions.may_be_written("repository")
    assert scene.row().place == (3, 6) and scene.unsettled() == []


def test_a_host_that_one_bucket_brought_back_stays_drained_as_the_newer_one_says(scene: Scene) -> None:
    """That it came back is no operator's word."""
    gamma = KnownHost("gamma", "gamma", first_key_sha256="11" * 32, public_key_sha256="12" * 32, certificate_pem="new")
    drained = replace(gamma, service=Service.CORDONED.value)
    scene.export(replace(scene.written, hosts=(*scene.written.hosts, gamma)), (3, 6), NOW + 1)
    scene.export(replace(scene.written, hosts=(*scene.written.hosts, drained)), (3, 6), NOW + 2, number=1)
    scene.look(0, 1)
    assert scene.now.hosts[-1] == drained


def test_what_an_operator_said_since_the_start_stays(scene: Scene) -> None:
    """The store came back late: he had set another limit by then."""
    later = replace(
        scene.written,
        limits=(KnownLimit("GLOBAL", "", "TRANSFERRING", 7), KnownLimit("SITE", "north", "TRANSFERRING", 2)),
    )
    scene.look(1)
    scene.database.write_now(lambda transaction: transaction.limits.set_limit(replace_value(LIMIT, 5)))
    scene.export(later, (3, 6), NOW + 1)
    scene.look(0)
    assert {(each.scope, each.value) for each in scene.now.limits} == {("GLOBAL", 5), ("SITE", 2)}


def test_a_start_that_dies_on_the_way_begins_anew(scene: Scene) -> None:
    beta = replace(scene.written.hosts[1], revoked=True)
    later = replace(scene.written, hosts=(scene.written.hosts[0], beta), holds=(Hold(point_id(1), "lawsuit", NOW),))
    scene.export(later, (3, 6), NOW + 1)
    scene.decisions.before_points(scene.buckets[0], scene.records[0])
    assert scene.row().place == WRITTEN, "known only once all of it is back"
    scene.lead()
    assert scene.unsettled() != []
    scene.look()
    assert scene.now.holds == later.holds and scene.now.hosts == later.hosts


def test_a_policy_that_changed_on_both_sides_gets_a_revision_of_its_own(scene: Scene) -> None:
    mine = replace(POLICY, revision=2, spec=a_policy("retention: {last: 2}").spec)
    scene.database.write_now(lambda transaction: transaction.policies.save_policy(POLICY, mine))
    scene.export(replace(scene.written, policies=(renewed(POLICY, "retention: {last: 5}"),)), (3, 6), NOW + 1)
    scene.look()
    (policy,) = scene.now.policies
    assert (policy.revision, policy.spec) == (3, a_policy("retention: {last: 5}").spec)


def test_a_policy_keeps_its_place_in_an_unchanged_calendar_alone(scene: Scene) -> None:
    scene.clock.advance(500)
    fired = POLICY.fired_us
    scene.export(replace(scene.written, policies=(renewed(POLICY, "retention: {last: 5}"),)), (3, 6), NOW + 1)
    scene.look(0)
    assert scene.database.read_now(lambda transaction: transaction.policies.policies())[0].fired_us == fired
    gone = renewed(POLICY, "retention: {last: 5}", revision=3, deleted_us=NOW + 2)
    scene.export(replace(scene.written, policies=(gone,)), (3, 7), NOW + 2)
    scene.look(0)
    assert scene.database.read_now(lambda transaction: transaction.policies.policies()) == []


def test_an_export_that_does_not_open_keeps_retention_waiting(scene: Scene) -> None:
    """Also over a restart; until somebody put it back or removed it. What does open counts at once."""
    store = scene.buckets[0].store
    scene.export(replace(scene.written, holds=(Hold(point_id(1), "lawsuit", NOW),)), (3, 6), NOW + 1)
    store.put(export_name(3, 7), b"SEAWEXPT and nothing else")
    scene.look()
    assert scene.now.holds and len(scene.unsettled()) == 1
    assert not scene.decisions.is_settled("repository") and scene.decisions.is_settled("repository-2")
    assert export_name(3, 7) in scene.troubles() and "Retention deletes nothing" in scene.troubles()
    scene.lead()
    scene.clock.advance(AWAY_US / 1e6 + 1)
    scene.look()
    assert len(scene.unsettled()) == 1, "no time settles it"
    store.delete(export_name(3, 7))
    scene.look(0)
    assert scene.unsettled() == [] and "Retention" not in scene.troubles()


def away(scene: Scene, number: int = 0) -> None:
    scene.decisions.missed(scene.records[number].id, Unavailable("STORE_UNAVAILABLE", "it does not answer"))


def test_a_restart_ends_no_wait_for_an_export_that_does_not_open(scene: Scene) -> None:
    """Before the bucket is looked at again; and where it is away then, its week begins with that."""
    scene.buckets[0].store.put(export_name(3, 7), b"SEAWEXPT and nothing else")
    scene.look()
    scene.clock.advance(AWAY_US / 1e6 + 1)
    away(scene)
    assert len(scene.unsettled()) == 1 and export_name(3, 7) in scene.troubles(), "known better than that it is away"
    scene.lead()
    scene.look(1)
    assert len(scene.unsettled()) == 1, "not looked at yet"
    away(scene)
    assert len(scene.unsettled()) == 1, "another wait than that of before"
    scene.clock.advance(AWAY_US / 1e6 - 1)
    assert len(scene.unsettled()) == 1
    scene.clock.advance(1)
    assert scene.unsettled() == []


def test_the_week_of_a_copied_row_does_not_count_before_the_bucket_is_missed(scene: Scene) -> None:
    away(scene)
    scene.clock.advance(AWAY_US / 1e6 + 1)
    scene.lead()
    scene.look(1)
    assert len(scene.unsettled()) == 1
    away(scene)
    assert scene.unsettled() == []


class Catalogue:
    """Of which the first repository's bucket makes the program fail as nobody thought of."""

    def __init__(self, scene: Scene) -> None:
        self.decisions = scene.decisions
        self._scene = scene

    def open(self, repository_id: str) -> OpenedRepository:
        if repository_id == "repository":
            raise ZeroDivisionError("nobody thought of it")
        mark = LeaderMark(self._scene.lease.current.epoch, "me")
        return OpenedRepository(self._scene.records[1], self._scene.buckets[1], cast(ChunkIndex, None), mark)


def test_what_one_bucket_dies_of_holds_back_no_other_and_is_told(scene: Scene) -> None:
    blocking = Blocking(1)
    catalogue = cast(RepositoryCatalogue, Catalogue(scene))
    exporter = Exporter(scene.database, catalogue, scene.lease, blocking, scene.clock, Timings(), CLUSTER)
    try:
        asyncio.run(exporter.look())
    finally:
        blocking.close()
    assert scene.decisions.is_settled("repository-2")
    assert "nobody thought of it" in scene.troubles() and len(scene.unsettled()) == 1


def test_the_known_one_may_be_damaged(scene: Scene) -> None:
    store = scene.buckets[0].store
    store.delete(export_name(*WRITTEN))
    store.put(export_name(*WRITTEN), b"SEAWEXPT and nothing else")
    scene.look()
    assert scene.unsettled() == []


def test_a_document_of_a_shape_that_nobody_knows_is_unread(scene: Scene) -> None:
    put_export(scene.buckets[0], 3, 6, b'{"settled": 5}', NOW)
    scene.look()
    assert len(scene.unsettled()) == 1


def test_a_store_that_is_away_is_waited_for_a_week(scene: Scene) -> None:
    scene.look(1)
    assert scene.unsettled() == ["Repository main was not looked at yet."]
    scene.decisions.missed("repository", Unavailable("STORE_UNAVAILABLE", "it does not answer"))
    (why,) = scene.unsettled()
    assert "it does not answer" in why and "it does not answer" in scene.troubles()
    scene.clock.advance(AWAY_US / 1e6 - 1)
    scene.lead()
    scene.look(1)
    scene.decisions.missed("repository", Unavailable("STORE_UNAVAILABLE", "it does not answer"))
    assert len(scene.unsettled()) == 1
    scene.clock.advance(2)
    assert scene.unsettled() == []
    scene.look(0)
    assert scene.row().waits == ""


@pytest.mark.parametrize(("opened", "older"), [(2, True), (3, False)])
def test_a_database_of_before_there_were_rows_goes_by_the_terms_it_opened(
    scene: Scene, opened: int, older: bool
) -> None:
    def closure(transaction: Transaction) -> None:
        transaction.known.note_exported(Exported("repository"))
        transaction.leadership.note_opening("repository", opened)

    scene.database.write_now(closure)
    scene.export(replace(scene.written, holds=(Hold(point_id(1), "lawsuit", NOW),)), (3, 6), NOW + 1)
    scene.look(0)
    assert bool(scene.now.holds) is older
    assert scene.row().place == ((3, 6) if older else (3, LAST_NUMBER))


def test_hosts_of_another_cluster_revoke_nobody_here(scene: Scene) -> None:
    """Somebody recovered the bucket into a controller of his own, where this one's hosts are names alone."""
    hosts = tuple(replace(each, revoked=True) for each in scene.written.hosts)
    stranger = KnownHost("delta", "delta", first_key_sha256="11" * 32, public_key_sha256="12" * 32)
    scene.export(replace(scene.written, cluster_id="another", hosts=(*hosts, stranger)), (3, 6), NOW + 1)
    scene.look(0)
    assert {each.id: each.revoked for each in scene.now.hosts} == {"alpha": False, "beta": False, "delta": True}


def test_a_repository_that_is_not_here_is_named(scene: Scene) -> None:
    new = KnownRepository("repository-3", "third", "memory://3")
    policy = KnownPolicy("policy-3", 1, a_policy(name="third").spec, "repository-3", NOW, NOW)
    later = replace(scene.written, repositories=(*scene.written.repositories, new), policies=(policy,))
    scene.export(later, (3, 6), NOW + 1)
    scene.look()
    assert "third (memory://3)" in scene.troubles() and "policy third" in scene.troubles()


ANNA = User("anna", Role.VIEWER, "aa" * 32, NOW, NOW, NOW)
AS_KNOWN = KnownUser("anna", "VIEWER", "aa" * 32, NOW, NOW, NOW)
BERT = replace(AS_KNOWN, name="bert", token_sha256="bb" * 32)


def test_users_come_back_as_they_were_changed_last(scene: Scene) -> None:
    """Before the points: who was removed is refused as early as that can be known. A role that only a later version knows is kept."""
    scene.database.write_now(lambda transaction: transaction.users.add(ANNA))
    gone = replace(AS_KNOWN, token_sha256="", changed_us=NOW + 1, removed_us=NOW + 1)
    strange = replace(BERT, name="cleo", role="ORACLE")
    scene.export(replace(scene.written, users=(gone, BERT, strange)), (3, 6), NOW + 1)
    found = scene.decisions.before_points(scene.buckets[0], scene.records[0])
    assert scene.now.users == (gone, BERT, strange)
    scene.decisions.after_points(found)
    assert "users: anna, bert, cleo" in scene.troubles()
    scene.look(1)
    assert scene.now.users == (gone, BERT, strange), "once"


def test_a_user_that_changed_here_later_stays(scene: Scene) -> None:
    mine = replace(ANNA, role=Role.OPERATOR, changed_us=NOW + 5)
    scene.database.write_now(lambda transaction: transaction.users.add(mine))
    scene.export(replace(scene.written, users=(replace(AS_KNOWN, role="ADMIN", changed_us=NOW + 4),)), (3, 6), NOW + 1)
    scene.look()
    assert [(each.role, each.changed_us) for each in scene.now.users] == [("OPERATOR", NOW + 5)]


def test_an_export_of_before_there_were_users_and_one_of_another_cluster_change_none(scene: Scene) -> None:
    """The other is of somebody who recovered the bucket into a controller of his own: its users are none here."""
    scene.database.write_now(lambda transaction: transaction.users.add(ANNA))
    before = document_of(Export("repository", "main", scene.written))
    older = before.replace(b',"users":[]', b"")
    assert older != before
    put_export(scene.buckets[0], 3, 6, older, NOW + 1)
    scene.look(0)
    assert scene.row().place == (3, 6) and scene.now.users == (AS_KNOWN,)
    scene.export(replace(scene.written, cluster_id="another", users=(BERT,)), (3, 7), NOW + 2)
    scene.look(0)
    assert scene.row().place == (3, 7) and scene.now.users == (AS_KNOWN,)
