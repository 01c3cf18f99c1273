"""Two tenants in one repository: nothing is shared between them, and everything that reads a repository sees both."""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from structlog.testing import CapturingLogger

from seawall.api.v1 import agent_pb2, operator_pb2, policy_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.controller.records.maintenance import JobKind, JobState
from seawall.controller.recovering.command import RecoverCommand
from seawall.controller.recovering.recovery import Order
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.crypto.keys import new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import StoreRefused
from seawall.repository.format.layout import KEYS_PREFIX
from seawall.repository.format.record import Locator
from seawall.repository.reading.restore import restore_disk
from seawall.repository.recovery_sheet import RecoveryMaterial
from seawall.repository.rescue.catalogue import read_catalogue
from seawall.repository.rescue.opening import open_for_rescue
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.collecting import TestedVm, awaited, collected, deleted, names, report_vms, restored, started
from support.controller_agent import ScriptedAgent, WirePacks, enrolled
from support.controller_application import BRISK, Controller, configured, reason_of, running
from support.format_samples import noise
from support.memory_disks import MemorySink, ModelDisk

SIZE = 4 << 20
WEB, MAIL = "00000001-1111-4111-8111-111111111111", "00000002-1111-4111-8111-111111111111"
AT_ONCE = replace(BRISK, collect_grace_seconds=0.0)
POLICY = """policy: {name}
repository: main
{tenant}select: {{names: [{vm}]}}
schedule: {{cron: "30 2 * * *", zone: UTC}}
"""


@dataclass
class Site:
    """A controller with one repository and a host with two VMs whose disks hold the same."""

    config: ControllerConfig
    controller: Controller
    bucket: Path
    key: bytes
    agent: ScriptedAgent
    web: TestedVm
    mail: TestedVm

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.bucket)

    def point(self, point_id: str) -> resources_pb2.Point:
        return self.controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point

    def protect(self, vm: TestedVm, tenant: str) -> None:
        settings = resources_pb2.VmSettings(tenant=tenant)
        self.controller.backups.ProtectVm(
            operator_pb2.ProtectVmRequest(request_id=str(uuid.uuid4()), vm=vm.vm_id, settings=settings)
        )

    def apply(self, *documents: str) -> Sequence[policy_pb2.PolicyChange]:
        request = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document="---\n".join(documents))
        return list(self.controller.policies.ApplyPolicies(request).changes)


def site_of(controller: Controller, config: ControllerConfig, folder: Path) -> Site:
    key, bucket = new_secret(), folder / "bucket"
    bucket.mkdir()
    request = operator_pb2.AddRepositoryRequest(
        request_id=str(uuid.uuid4()), name="main", url=bucket.as_uri(), recovery_public_key=public_key_of(key)
    )
    controller.backups.AddRepository(request)
    agent = enrolled(controller, "alpha")
    report_vms(agent, {WEB: ("web", SIZE), MAIL: ("mail", SIZE)})
    web, mail = (TestedVm(agent, vm_id, name, a_disk()) for vm_id, name in ((WEB, "web"), (MAIL, "mail")))
    return Site(config, controller, bucket, key, agent, web, mail)


def a_disk() -> ModelDisk:
    disk = ModelDisk(SIZE)
    disk.write(0, noise("tenants", 3 << 20))
    return disk


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    config = configured(tmp_path / "state")
    with running(config, AT_ONCE) as controller:
        yield site_of(controller, config, tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """Attempt -> the chunks that its writer looked up."""
    found: dict[str, list[bytes]] = {}
    lookup = WirePacks.lookup

    def noting(self: WirePacks, chunk_ids: Sequence[bytes]) -> dict[bytes, Locator]:
        found.setdefault(self._attempt.attempt_id, []).extend(chunk_ids)
        return dict(lookup(self, chunk_ids))

    monkeypatch.setattr(WirePacks, "lookup", noting)
    return found


def found_by(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, chunk_ids: Sequence[bytes]) -> int:
    request = agent_pb2.LookupRequest(session_id=agent.session_id, attempt=attempt, chunk_ids=b"".join(chunk_ids))
    return len(agent.stub.Lookup(request).found)


def packs(store: Store, tenant: str) -> set[str]:
    return {name.rpartition("/")[2] for name in names(store, f"v1/p/{tenant}/")}


def rescued(site: Site, point_id: str) -> dict[int, bytes]:
    """With the recovery key alone."""
    rescue = open_for_rescue(site.store, RecoveryMaterial(site.key, None))
    (found,) = (point for point in read_catalogue(rescue).points if point.name.point_id == point_id)
    reader = rescue.point(found.name).reader
    manifest = reader.disk("vda")
    assert manifest is not None
    sink = MemorySink(manifest.size_bytes)
    restore_disk(reader, manifest, sink)
    return sink.content()


def test_two_tenants_share_nothing(site: Site, asked: dict[str, list[bytes]]) -> None:
    site.protect(site.web, "acme")
    site.protect(site.mail, "globex")
    of_web, of_mail = (vm.backup(site.controller) for vm in (site.web, site.mail))
    assert [site.point(each).tenant for each in (of_web, of_mail)] == ["acme", "globex"]
    assert [site.controller.run(each).tenant for each in (of_web, of_mail)] == ["acme", "globex"]
    web, mail = (site.point(each).disks[0] for each in (of_web, of_mail))
    assert web.new_bytes == mail.new_bytes > 3_000_000, "the same content is stored twice, on the same host"
    assert names(site.store, KEYS_PREFIX) == [
        f"{KEYS_PREFIX}{tenant}/1.{wrapper}"
        for tenant in ("acme", "default", "globex")
        for wrapper in ("controller", "recovery")
    ]
    assert packs(site.store, "acme") and packs(site.store, "globex") and not packs(site.store, "default")
    assert packs(site.store, "acme").isdisjoint(packs(site.store, "globex"))
    for point_id, vm in ((of_web, site.web), (of_mail, site.mail)):
        assert restored(site.controller, site.agent, point_id) == vm.points[point_id]
        assert rescued(site, point_id) == vm.points[point_id]
    ids_of_web, ids_of_mail = asked.values()
    run = site.controller.start_backup(WEB)
    given = site.agent.next_assignment()
    site.agent.accept(given.attempt)
    assert found_by(site.agent, given.attempt, ids_of_web) > 0
    assert found_by(site.agent, given.attempt, ids_of_mail) == 0, "who knows the other's ids is told nothing of them"
    theirs = bytes.fromhex(min(packs(site.store, "globex")).partition(".")[0])
    with pytest.raises(grpc.RpcError) as refused:
        site.agent.stub.SealPack(
            agent_pb2.SealPackRequest(
                session_id=site.agent.session_id,
                attempt=given.attempt,
                pack_id=theirs,
                length_bytes=1000,
                content_md5=bytes(16),
            )
        )
    assert reason_of(refused.value) == "PACK_FOREIGN" and "another tenant" in str(refused.value.details())
    site.controller.backups.CancelRun(operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id))


def test_maintenance_and_recovery_see_all_tenants(site: Site) -> None:
    site.protect(site.web, "acme")
    of_web, of_mail = site.web.backup(site.controller), site.mail.backup(site.controller)
    check = started(site.controller, JobKind.CHECK, read_data_percent=100)
    checked = awaited(site.controller, check.id, lambda job: job.state.over)
    assert checked.state is JobState.SUCCEEDED and not json.loads(checked.result)["findings"], checked
    assert all(site.point(each).verified for each in (of_web, of_mail))
    deleted(site.controller, of_web)
    done = collected(site.controller)
    assert done.state is JobState.SUCCEEDED, done
    assert not packs(site.store, "acme") and packs(site.store, "default")
    assert restored(site.controller, site.agent, of_mail) == site.mail.points[of_mail]
    of_web = site.web.backup(site.controller)
    assert site.point(of_web).tenant == "acme"
    assert restored(site.controller, site.agent, of_web) == site.web.points[of_web]


def test_what_a_tenant_lost_comes_back_from_a_copy(site: Site, tmp_path: Path) -> None:
    site.protect(site.web, "acme")
    of_web, of_mail = site.web.backup(site.controller), site.mail.backup(site.controller)
    copy = tmp_path / "copy"
    shutil.copytree(site.bucket, copy)
    for pack in (site.bucket / "v1" / "p" / "acme").rglob("*.0"):
        body = bytearray(pack.read_bytes())
        body[1000:2000] = bytes(1000)
        pack.write_bytes(body)
    check = started(site.controller, JobKind.CHECK, read_data_percent=100)
    checked = awaited(site.controller, check.id, lambda job: job.state.over)
    assert json.loads(checked.result)["findings"], checked
    assert bool(site.point(of_web).damage) and not site.point(of_mail).damage, "the other tenant's point is whole"
    heal = started(site.controller, JobKind.HEAL, source_url=copy.as_uri())
    healed = awaited(site.controller, heal.id, lambda job: job.state.over)
    assert json.loads(healed.result)["damaged_points"] == 0, healed
    assert restored(site.controller, site.agent, of_web) == site.web.points[of_web]


def test_a_recovered_controller_has_the_points_of_all_tenants(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config, AT_ONCE) as controller:
        site = site_of(controller, config, tmp_path)
        site.protect(site.web, "acme")
        points = {vm.backup(controller): vm for vm in (site.web, site.mail)}
    other = configured(tmp_path / "other")
    order = Order(site.bucket.as_uri(), None, RecoveryMaterial(site.key, None))
    found = RecoverCommand(other, SystemClock()).run(order, lambda _: None)
    assert (found.adopted.points, found.adopted.refused) == (2, {})
    with running(other, AT_ONCE) as controller:
        agent = enrolled(controller, "alpha")
        report_vms(agent, {WEB: ("web", SIZE), MAIL: ("mail", SIZE)})
        listed = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
        assert {each.point_id: each.tenant for each in listed} == dict(zip(points, ("acme", "default"), strict=True))
        for point_id, vm in points.items():
            assert restored(controller, agent, point_id) == vm.points[point_id]
        # A tenant that is new to it: for the recovery key, and for the key that this controller has.
        again = replace(site, controller=controller, config=other, agent=agent)
        again.protect(again.mail, "initech")
        of_mail = replace(again.mail, agent=agent).backup(controller)
        assert again.point(of_mail).tenant == "initech"
        assert rescued(again, of_mail) == dict(again.mail.disk.blocks)


def test_a_tenant_that_changes_reads_everything_once(site: Site) -> None:
    first = site.web.backup(site.controller)
    site.protect(site.web, "acme")
    site.controller.start_backup(WEB)
    given = site.agent.next_assignment()
    grant = site.agent.accept(given.attempt).backup
    assert not grant.HasField("parent")
    assert "of tenant default" in grant.no_parent_reason and "of tenant acme" in grant.no_parent_reason
    written = site.agent.write(given.attempt, grant, {"vda": site.web.disk.source()})
    second = site.agent.stub.CompleteAttempt(site.agent.hand_in(given.attempt, written)).point_id
    assert site.point(second).disks[0].new_bytes == site.point(first).disks[0].new_bytes
    site.controller.start_backup(WEB)
    grant = site.agent.accept(site.agent.next_assignment().attempt).backup
    assert grant.parent.point_id == second


def test_policies_say_whose_a_vm_is_unless_the_vm_does(site: Site) -> None:
    nightly = POLICY.format(name="nightly", tenant="tenant: acme\n", vm="web")
    weekly = POLICY.format(name="weekly", tenant="", vm="web")
    (change,) = site.apply(nightly)
    assert not change.warnings
    assert site.controller.run(site.web.backup(site.controller)).tenant == "acme"
    assert site.controller.run(site.mail.backup(site.controller)).tenant == "default"
    (change,) = site.apply(weekly)
    assert "Policy nightly of tenant acme protects web too." in change.warnings[0]
    with pytest.raises(grpc.RpcError) as refused:
        site.controller.start_backup(WEB)
    assert reason_of(refused.value) == "SEVERAL_TENANTS"
    preview = site.controller.policies.PreviewPolicy(policy_pb2.PreviewPolicyRequest(policy="weekly"))
    assert [vm.tenant for vm in preview.vms] == ["default"] and "seawall vm protect VM --tenant" in preview.warnings[0]
    assert not preview.vms[0].measured, "of another tenant's point it takes nothing over"
    site.protect(site.web, "globex")
    assert site.controller.run(site.web.backup(site.controller)).tenant == "globex"
    for policy, says in (("nightly", "acme"), ("weekly", "default")):
        preview = site.controller.policies.PreviewPolicy(policy_pb2.PreviewPolicyRequest(policy=policy))
        assert [vm.tenant for vm in preview.vms] == ["globex"] and not preview.warnings
        shown = site.controller.policies.GetPolicy(policy_pb2.GetPolicyRequest(policy=policy)).policy
        assert shown.tenant == says


class KeysRefused:
    """Opens stores that take no key object of tenant acme."""

    def __init__(self) -> None:
        self.refusing = True

    def __call__(self, url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        store = open_store(url, credentials, clock)
        put = store.put

        def refusing(name: str, body: bytes, *, create_only: bool = True) -> None:
            if self.refusing and name.startswith("v1/keys/acme/"):
                raise StoreRefused(f"{name}: access denied")
            put(name, body, create_only=create_only)

        store.put = refusing  # type: ignore[method-assign,assignment]
        return store


def test_keys_that_cannot_be_written_are_said_before_anything_is_given_out(tmp_path: Path) -> None:
    config, store = configured(tmp_path / "state"), KeysRefused()
    with running(config, AT_ONCE, open_store=store) as controller:
        site = site_of(controller, config, tmp_path)
        site.protect(site.web, "acme")
        controller.start_backup(WEB)
        given = site.agent.next_assignment()
        with pytest.raises(grpc.RpcError) as refused:
            site.agent.accept(given.attempt)
        assert reason_of(refused.value) == "BUCKET_REFUSED"
        assert "The keys of tenant acme in repository main" in str(refused.value.details())
        store.refusing = False
        assert site.agent.accept(given.attempt).backup.tenant == "acme"


def test_a_recovery_key_that_is_damaged_is_told_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups go on; only who holds the recovery key could not read them."""
    said = CapturingLogger()
    monkeypatch.setattr("seawall.controller.repositories.opened._log", said)

    def damaging(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        store = open_store(url, credentials, clock)
        put = store.put

        def damaged(name: str, body: bytes, *, create_only: bool = True) -> None:
            put(name, body[:100] if name == "v1/keys/acme/1.recovery" else body, create_only=create_only)

        store.put = damaged  # type: ignore[method-assign,assignment]
        return store

    config = configured(tmp_path / "state")
    with running(config, AT_ONCE, open_store=damaging) as controller:
        site = site_of(controller, config, tmp_path)
        site.protect(site.web, "acme")
        assert site.point(site.web.backup(controller)).tenant == "acme"
    (call,) = (each for each in said.calls if each.args == ("key_object.damaged",))
    assert (call.method_name, call.kwargs["name"]) == ("error", "v1/keys/acme/1.recovery")
    assert "replica of the bucket" in call.kwargs["next_step"]
