"""Plans and clashes of a restore."""

from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor.port import Capabilities, Domain, DomainDisk
from seawall.agent.restore.domain import Identity
from seawall.agent.restore.planner import HostFacts, RestorePlan, choose_disks, plan_restore
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.restore.unfinished import put_in_place, sweep_restores, unfinished_path
from seawall.repository.format.manifest import DiskManifest, Root

GIB = 1024**3
VM_ID = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa"
SETTINGS = RestoreSettings()
IMAGES = Path("/var/lib/libvirt/images")
XML = """<domain type='qemu'><name>web</name><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk device='disk'><target dev='vda'/></disk><interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>"""
HOST = Capabilities(
    host_arch="x86_64",
    kvm_arches=frozenset(),
    emulators={"x86_64": "/usr/bin/qemu-system-x86_64"},
    machines={"x86_64": frozenset({"q35"})},
    networks=frozenset(),
    bridges=frozenset(),
    mac_owners={},
    qemu_owner=None,
)


def manifest(target: str, source: str, disk_format: str = "qcow2") -> DiskManifest:
    return DiskManifest(target, GIB, disk_format, source, 512, 0, 65536, "full", "", ())


def a_request(*disks: DiskManifest) -> RestoreRequest:
    root = Root(
        lineage_id=b"l",
        tenant="t",
        vm_id=VM_ID,
        vm_name="web",
        point_id="p",
        parent_point_id="",
        key_epoch=1,
        instant_us=1,
        guest_frozen=False,
        disks=disks or (manifest("vda", f"{IMAGES}/web.img"), manifest("vdb", "/srv/b.raw", "raw")),
        members=(),
        checkpoint=None,
        warnings=(),
    )
    return RestoreRequest("a1", root, XML, "", False, False, "", ())


def paths(request: RestoreRequest) -> list[str]:
    return [str(one.path) for one in choose_disks(request, SETTINGS)]


def test_own_paths_are_used_in_trusted_folders_alone() -> None:
    assert paths(a_request()) == [f"{IMAGES}/web.img", f"{IMAGES}/web-vdb.raw"]


@pytest.mark.parametrize(
    "source",
    [
        "/etc/cron.d/x",
        f"{IMAGES}/../../../../etc/x",
        "relative",
        "",
        "rbd:pool/x",
        f"{IMAGES}",
        f"{IMAGES}/a\nb",
        "//var/lib/libvirt/images/x",
    ],
)
def test_hostile_paths_are_not_used(source: str) -> None:
    assert paths(a_request(manifest("vda", source))) == [f"{IMAGES}/web-vda.qcow2"]


def test_new_names_and_directories() -> None:
    request = a_request()
    assert paths(replace(request, vm_name="copy")) == [f"{IMAGES}/copy-vda.qcow2", f"{IMAGES}/copy-vdb.raw"]
    assert paths(replace(request, directory="/srv/new")) == ["/srv/new/web-vda.qcow2", "/srv/new/web-vdb.raw"]
    assert paths(replace(request, directory="/srv/new", disks=("vdb",))) == ["/srv/new/vdb.raw"]
    assert paths(a_request(manifest("vda", f"{IMAGES}/x.vmdk", "vmdk"))) == [f"{IMAGES}/web-vda.qcow2"]


@pytest.mark.parametrize(
    "request_",
    [
        replace(a_request(), vm_name="../x"),
        replace(a_request(), vm_name="a\nb"),
        replace(a_request(), vm_name="x" * 201),
        replace(a_request(), directory="relative"),
        replace(a_request(), disks=("vdz",)),
        a_request(manifest("../vda", "/x")),
        a_request(manifest("", "/x")),
    ],
)
def test_unusable_names_are_refused(request_: RestoreRequest) -> None:
    with pytest.raises(RestoreRefused):
        choose_disks(request_, SETTINGS)


def facts(**changes: object) -> HostFacts:
    given = HostFacts(capabilities=HOST, domains=(), existing=(), free_bytes={IMAGES: 100 * GIB})
    return replace(given, **changes)  # type: ignore[arg-type]


def plan(request: RestoreRequest, given: HostFacts, is_new: bool = False) -> RestorePlan | list[str]:
    """The plan, or the reasons of its clashes."""
    identity = Identity(request.vm_name or "web", "11111111-0000-4000-8000-000000000000" if is_new else VM_ID, is_new)
    disks = choose_disks(request, SETTINGS)
    found = plan_restore(request, disks, identity, given, SETTINGS, lambda: "52:54:00:aa:aa:aa")
    return found if isinstance(found, RestorePlan) else [clash.reason for clash in found]


def test_plan_of_a_free_host() -> None:
    found = plan(a_request(), facts(free_bytes={IMAGES: GIB}))
    assert isinstance(found, RestorePlan)
    assert f"{IMAGES}/web.img" in found.xml and VM_ID in found.xml
    assert [reason for reason, _ in found.warnings] == ["SPACE_TIGHT"]


def test_all_clashes_are_told_at_once() -> None:
    disk = DomainDisk("vda", "disk", "file", f"{IMAGES}/web.img", "qcow2", GIB, False, False, False)
    given = facts(
        domains=(Domain(VM_ID, "web", "running", (disk,)),),
        existing={IMAGES / "web-vdb.raw"},
        capabilities=replace(HOST, mac_owners={"52:54:00:00:00:01": "web"}, machines={}),
    )
    assert plan(a_request(), given) == [
        "FILE_IN_USE",
        "FILE_EXISTS",
        "NAME_TAKEN",
        "UUID_TAKEN",
        "MAC_TAKEN",
        "MACHINE_MISSING",
    ]
    found = plan(replace(a_request(), vm_name="copy"), replace(given, capabilities=HOST), is_new=True)
    assert isinstance(found, RestorePlan) and "52:54:00:aa:aa:aa" in found.xml


def test_missing_architecture_and_twin_paths() -> None:
    assert plan(a_request(), facts(capabilities=replace(HOST, emulators={}))) == ["ARCH_MISSING"]
    twins = a_request(manifest("vda", f"{IMAGES}/x"), manifest("vdb", f"{IMAGES}/x"))
    assert plan(twins, facts()) == ["FILE_TWICE", "FILE_TWICE"]


def test_files_alone_do_not_clash_with_vms() -> None:
    request = replace(a_request(), disks=("vda",), directory="/srv/new", domain_xml="")
    found = plan(request, facts(domains=(Domain(VM_ID, "web", "running", ()),)))
    assert isinstance(found, RestorePlan) and found.xml == ""


def test_complete_files_never_replace_others(tmp_path: Path) -> None:
    final = tmp_path / ("ü" * 120 + ".qcow2")
    unfinished = unfinished_path(final, "a1")
    unfinished.write_text("new")
    put_in_place(unfinished, final)
    assert final.read_text() == "new" and not unfinished.exists()
    unfinished.write_text("other")
    with pytest.raises(Exception, match="appeared"):
        put_in_place(unfinished, final)
    assert final.read_text() == "new"


def test_sweep_removes_only_what_bears_the_attempts_name(tmp_path: Path) -> None:
    run = tmp_path / "restores" / "a1"
    run.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.touch()
    unfinished = unfinished_path(tmp_path / "disk", "a1")
    unfinished.touch()
    (run / "unfinished.json").write_text(f'["{precious}", "{unfinished}"]')
    assert len(sweep_restores(tmp_path, set())) == 1
    assert precious.exists() and not unfinished.exists() and not run.exists()
