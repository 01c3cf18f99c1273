"""UEFI variables through a capture and a restore under a real libvirt and QEMU: the files, not yet what a guest makes of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.xml import parse
from seawall.agent.members.names import DOMAIN, NVRAM
from seawall.agent.restore.libvirt_target import open_target
from seawall.agent.restore.port import RestoreRequest
from seawall.agent.restore.settings import RestoreSettings
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import DiskManifest, Root
from support.libvirt_host import LibvirtHost, disk_xml

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
CODE, TEMPLATE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
MARK = b"what the guest's firmware wrote"


@pytest.fixture
def vm_id(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> Iterator[str]:
    """A VM with UEFI, a display with a password, and variables that no template has. It runs."""
    (host.folder / "nvram").mkdir()
    variables = bytearray(TEMPLATE.read_bytes())
    variables[-len(MARK) :] = MARK
    (host.folder / "nvram/web.fd").write_bytes(variables)
    disk = disk_xml(host.image("web.qcow2", "qcow2", MIB), "vda", "qcow2")
    made = hypervisor.define(f"""<domain type='qemu'><name>web</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><loader readonly='yes' type='pflash'>{CODE}</loader>
<nvram>{host.folder}/nvram/web.fd</nvram></os><features><acpi/></features><devices>{disk}
<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='pass wd'/></devices></domain>""")
    hypervisor.start(made)
    yield made
    for domain in hypervisor.domains():
        hypervisor.stop(domain.vm_id)
        hypervisor.undefine(domain.vm_id)


def test_variables_and_passwords_come_back(host: LibvirtHost, hypervisor: LibvirtHypervisor, vm_id: str) -> None:
    members = captured_members(host, hypervisor, vm_id)
    assert members[NVRAM].endswith(MARK) and len(members[NVRAM]) == TEMPLATE.stat().st_size
    hypervisor.stop(vm_id)
    hypervisor.undefine(vm_id)
    assert not (host.folder / "nvram/web.fd").exists(), "the VM is gone with all that it had"

    settings = RestoreSettings(
        run_dir=host.folder / "sw",
        state_dir=host.folder / "state",
        images_dir=host.images,
        nvram_dir=host.folder / "nvram",
    )
    request = a_request(vm_id, members)
    with open_target(request, hypervisor, settings) as target:
        pass
    assert list((host.folder / "nvram").iterdir()) == [], "given up: nothing stays"
    with open_target(request, hypervisor, settings) as target:
        assert target.finish() == vm_id
        target.keep()
    assert list(target.warnings) == []
    restored = host.folder / "nvram/web_VARS.fd"
    assert restored.read_bytes().endswith(MARK) and restored.stat().st_mode & 0o077 == 0
    domain = parse(hypervisor.domain_xml(vm_id))
    assert domain.findtext("os/nvram") == str(restored) and domain.findtext("os/loader") == str(CODE)
    assert domain.find("devices/graphics[@passwd='pass wd']") is not None
    assert hypervisor.domain(vm_id).state == "running"

    with pytest.raises(RestoreRefused) as refused:
        open_target(replace(request, attempt_id="a2", new_identity=True), hypervisor, settings)
    assert "FILE_EXISTS" in str(refused.value.reason) or str(restored) in str(refused.value)


def captured_members(host: LibvirtHost, hypervisor: LibvirtHypervisor, vm_id: str) -> dict[str, bytes]:
    """Those of the running VM."""
    settings = CaptureSettings(run_dir=host.folder / "sw", scratch_dir=host.folder / "scratch", hypervisor=host.uri)
    request = CaptureRequest(vm_id, "a1", "agent-1", "abcdef0123456789", "never", None, ())
    with open_capture(request, hypervisor, settings, SystemClock()) as capture:
        assert list(capture.warnings) == []
        return dict(capture.members)


def a_request(vm_id: str, members: dict[str, bytes]) -> RestoreRequest:
    disk = DiskManifest("vda", MIB, "qcow2", "/elsewhere/web.qcow2", 512, 0, 65536, "full", "", ())
    root = Root(b"l", "t", vm_id, "web", "p", "", 1, 1, False, (disk,), (), None, ())
    return RestoreRequest("a1", root, members[DOMAIN].decode(), "", False, True, "", (), members)
