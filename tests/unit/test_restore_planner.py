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


def test_a_long_name_makes_file_names_that_fit_and_differ() -> None:
    long = [paths(replace(a_request(), vm_name="ü" * 125 + ending, directory="/d")) for ending in "ab"]
    assert all(path.startswith("/d/üü") and len(Path(path).name.encode()) <= 210 for two in long for path in two)
    assert [Path(path).name.rpartition("-")[2] for path in long[0]] == ["vda.qcow2", "vdb.raw"]
    assert len({path for two in long for path in two}) == 4


def test_a_disk_named_twice_is_planned_once() -> None:
    assert paths(replace(a_request(), disks=("vda", "vda"), directory="/d")) == ["/d/vda.qcow2"]


def test_a_source_path_that_no_file_can_have_is_not_used_again() -> None:
    assert paths(a_request(manifest("vda", f"{IMAGES}/{'x' * 256}"))) == [f"{IMAGES}/web-vda.qcow2"]


def test_a_disk_that_the_point_lacks_is_named_with_what_the_backup_said_of_it() -> None:
    request = a_request(manifest("vdb", f"{IMAGES}/b"))
    said = ("DISK_READ_ONLY", "Disk vda is not in this point: it is read-only, the VM never changes it.")
    hostile = ("DISK_X", "Disk vda is not in this point: \x1b[31m")
    for warning, told in ((said, "The backup said: it is read-only, the VM never changes it."), (hostile, "point.")):
        warned = replace(request, root=replace(request.root, warnings=(warning,)))
        disks = choose_disks(warned, SETTINGS)
        made = plan_restore(warned, disks, Identity("web", VM_ID, False), facts(), SETTINGS, lambda: "")
        assert isinstance(made, RestorePlan)
        (absent,) = [message for reason, message in made.warnings if reason == "DISK_ABSENT"]
        assert absent.startswith("Disk vda was left out") and absent.endswith(told)


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
        replace(a_request(), vm_name="x" * 252),
        replace(a_request(), directory="relative"),
        replace(a_request(), directory="/two\nlines"),
        replace(a_request(), directory="/" + "d" * 256),
        replace(a_request(), directory="/d" * 2001),
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
    assert plan(twins, facts()) == ["FILE_TWICE"]


def test_files_alone_do_not_clash_with_vms() -> None:
    request = replace(a_request(), disks=("vda",), directory="/srv/new", domain_xml="")
    found = plan(request, facts(domains=(Domain(VM_ID, "web", "running", ()),)))
    assert isinstance(found, RestorePlan) and found.xml == ""
