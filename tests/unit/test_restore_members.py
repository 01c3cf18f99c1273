"""Where UEFI variables and TPM contents go on another host, and what keeps them from it."""

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from seawall.agent.hypervisor.port import Capabilities, FirmwareOffer, Loader
from seawall.agent.members.names import NVRAM
from seawall.agent.members.writing import write_member
from seawall.agent.restore.domain import Identity
from seawall.agent.restore.members import MemberFacts
from seawall.agent.restore.planner import HostFacts, RestorePlan, choose_disks, plan_restore
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.restore.swtpm_owner import swtpm_owner
from seawall.repository.format.manifest import DiskManifest, Root

VM_ID = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa"
NEW_ID = "11111111-0000-4000-8000-000000000000"
SETTINGS = RestoreSettings()
TPM = "tpm2-00.permall"
CODE_BYTES, VARS_BYTES = 3653632, 540672
CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
NVRAM_PATH = Path("/var/lib/libvirt/qemu/nvram/web_VARS.fd")
TPM_PATH = Path(f"/var/lib/libvirt/swtpm/{VM_ID}/tpm2/{TPM}")
UEFI = f"<loader readonly='yes' type='pflash'>{CODE}</loader><nvram template='/t'>/n/web_VARS.fd</nvram>"
EMULATED = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
OFFER = FirmwareOffer(uefi=True, loaders=(Loader(CODE, CODE_BYTES),), emulated_tpm=True)
FACTS = MemberFacts(OFFER, (), (64055, 107), (103, 112))
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


def a_request(firmware: str = UEFI, devices: str = EMULATED) -> RestoreRequest:
    disk = DiskManifest("vda", 1 << 20, "qcow2", "/x", 512, 0, 65536, "full", "", ())
    root = Root(b"l", "t", VM_ID, "web", "p", "", 1, 1, False, (disk,), (), None, ())
    xml = f"""<domain type='qemu'><name>web</name><os><type arch='x86_64' machine='q35'>hvm</type>{firmware}</os><devices>
    <disk device='disk'><target dev='vda'/></disk>{devices}</devices></domain>"""
    held = {NVRAM: b"v" * VARS_BYTES, TPM: b"state"}
    return RestoreRequest("a1", root, xml, "", False, False, "", (), held)


def planned(request: RestoreRequest, facts: MemberFacts = FACTS, *, is_new: bool = False) -> RestorePlan | list[str]:
    """The plan, or the reasons of its clashes."""
    identity = Identity("copy" if is_new else "web", NEW_ID if is_new else VM_ID, is_new)
    given = HostFacts(HOST, (), (), {}, facts)
    made = plan_restore(request, choose_disks(request, SETTINGS), identity, given, SETTINGS, lambda: "52:54:00:0:0:1")
    return made if isinstance(made, RestorePlan) else [clash.reason for clash in made]


def made(
    request: RestoreRequest, facts: MemberFacts = FACTS, *, is_new: bool = False
) -> tuple[RestorePlan, ET.Element]:
    found = planned(request, facts, is_new=is_new)
    assert isinstance(found, RestorePlan), found
    return found, ET.fromstring(found.xml)


def reasons(plan: RestorePlan) -> list[str]:
    return [reason for reason, _ in plan.warnings]


def test_the_same_vm_gets_its_variables_and_its_tpm_back() -> None:
    plan, domain = made(a_request())
    assert [(one.name, one.path, one.owner, one.own_folder) for one in plan.members] == [
        (NVRAM, NVRAM_PATH, (64055, 107), False),
        (TPM, TPM_PATH, (103, 112), True),
    ]
    assert reasons(plan) == []
    system, loader = domain.find("os"), domain.find("os/loader")
    assert system is not None and loader is not None and "firmware" not in system.attrib
    assert (loader.text, loader.get("type"), loader.get("readonly")) == (CODE, "pflash", "yes")
    assert domain.findtext("os/nvram") == str(NVRAM_PATH)
    assert domain.find("devices/tpm/backend[@version='2.0']") is not None


def test_a_new_identity_has_files_of_its_own_and_hears_that_its_tpm_is_a_copy() -> None:
    plan, domain = made(a_request(), is_new=True)
    assert [str(one.path) for one in plan.members] == [
        "/var/lib/libvirt/qemu/nvram/copy_VARS.fd",
        f"/var/lib/libvirt/swtpm/{NEW_ID}/tpm2/{TPM}",
    ]
    assert domain.findtext("os/nvram") == "/var/lib/libvirt/qemu/nvram/copy_VARS.fd"
    assert reasons(plan) == ["TPM_CLONED"]


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (replace(OFFER, uefi=False), ["FIRMWARE_MISSING"]),
        (replace(OFFER, emulated_tpm=False), ["TPM_MISSING"]),
        (FirmwareOffer(uefi=False, loaders=(), emulated_tpm=False), ["FIRMWARE_MISSING", "TPM_MISSING"]),
    ],
)
def test_a_host_without_firmware_or_swtpm_is_refused(offer: FirmwareOffer, expected: list[str]) -> None:
    assert planned(a_request(), replace(FACTS, offer=offer)) == expected


def test_a_vm_that_needs_neither_asks_for_neither() -> None:
    bare = FirmwareOffer(uefi=False, loaders=(), emulated_tpm=False)
    plan, _ = made(a_request(firmware="", devices=""), replace(FACTS, offer=bare))
    assert plan.members == () and reasons(plan) == []


def test_what_lies_there_already_is_not_replaced() -> None:
    assert planned(a_request(), replace(FACTS, existing={NVRAM_PATH, TPM_PATH})) == ["FILE_EXISTS", "TPM_STATE_EXISTS"]


def test_firmware_of_the_same_name_elsewhere_is_the_same_firmware() -> None:
    elsewhere = Loader("/usr/share/edk2/OVMF_CODE_4M.fd", CODE_BYTES)
    _, domain = made(a_request(), replace(FACTS, offer=replace(OFFER, loaders=(elsewhere,))))
    assert domain.findtext("os/loader") == elsewhere.path


@pytest.mark.parametrize("loader", [Loader("/usr/share/OVMF/OTHER.fd", CODE_BYTES), Loader(CODE, CODE_BYTES - 4096)])
def test_variables_of_another_build_are_left_out_with_a_word(loader: Loader) -> None:
    plan, domain = made(a_request(), replace(FACTS, offer=replace(OFFER, loaders=(loader,))))
    assert [one.name for one in plan.members] == [TPM]
    ((reason, message),) = plan.warnings
    assert reason == "NVRAM_FRESH" and "OVMF_CODE_4M.fd" in message
    system = domain.find("os")
    assert system is not None and system.get("firmware") == "efi" and system.find("nvram") is None


def test_where_libvirt_chose_the_firmware_it_chooses_again() -> None:
    request = a_request(firmware="")
    request = replace(request, domain_xml=request.domain_xml.replace("<os>", "<os firmware='efi'>"))
    plan, domain = made(request)
    system = domain.find("os")
    assert system is not None and system.get("firmware") == "efi" and system.find("loader") is None
    assert system.findtext("nvram") == str(NVRAM_PATH) and reasons(plan) == []


def test_secure_boot_stays_on() -> None:
    _, domain = made(a_request(firmware=UEFI.replace("readonly", "secure='yes' readonly")))
    loader = domain.find("os/loader")
    assert loader is not None and loader.get("secure") == "yes" and loader.text == CODE


def test_a_locked_tpm_needs_its_secret() -> None:
    locked = EMULATED.replace("version='2.0'/>", "version='2.0'><encryption secret='u-2'/></backend>")
    assert planned(a_request(devices=locked)) == ["SECRET_MISSING"]
    there = replace(FACTS, offer=replace(OFFER, secrets=frozenset({"u-2"})))
    _, domain = made(a_request(devices=locked), there)
    assert domain.find("devices/tpm/backend/encryption[@secret='u-2']") is not None


def test_a_point_without_members_says_what_starts_fresh() -> None:
    plan, _ = made(replace(a_request(), members={}))
    assert plan.members == () and sorted(reasons(plan)) == ["NVRAM_FRESH", "TPM_FRESH"]


def test_a_long_name_makes_a_file_name_that_fits() -> None:
    request = a_request()
    names = set()
    for ending in "ab":
        identity = Identity("ü" * 120 + ending, VM_ID, False)
        given = HostFacts(HOST, (), (), {}, FACTS)
        found = plan_restore(request, choose_disks(request, SETTINGS), identity, given, SETTINGS, lambda: "")
        assert isinstance(found, RestorePlan)
        name = found.members[0].path.name
        assert len(name.encode()) <= 200 and name.endswith("_VARS.fd")
        names.add(name)
    assert len(names) == 2


def test_a_member_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tpm2"
    folder.mkdir(mode=0o755)
    write_member(folder / "x", b"state", (os.getuid(), os.getgid()), own_folder=True)
    write_member(folder / "x", b"again", None, own_folder=True)
    assert (folder / "x").read_bytes() == b"again"
    assert (folder / "x").stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700


def test_swtpm_runs_as_whom_the_host_says(tmp_path: Path) -> None:
    conf = tmp_path / "qemu.conf"
    assert swtpm_owner(conf) == swtpm_owner(tmp_path)  # neither can be read: libvirt's own default
    conf.write_text('#swtpm_user = "1"\nswtpm_user = "+7"\n swtpm_group= "root"\n')
    assert swtpm_owner(conf) == (7, 0)
    conf.write_text('swtpm_user = "nobody-of-that-name"\nswtpm_group = "8"\n')
    assert swtpm_owner(conf) == (0, 8)
