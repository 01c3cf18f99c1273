"""Hostile definitions, rewritten for a host."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.errors import RestoreRefused
from seawall.agent.hypervisor.port import Capabilities
from seawall.agent.hypervisor.xml import XmlRefused
from seawall.agent.restore.devices import RestoredDisk, Surroundings, is_console_file
from seawall.agent.restore.domain import Identity, rewrite

HOST = Capabilities(
    host_arch="x86_64",
    kvm_arches=frozenset({"x86_64"}),
    emulators={"x86_64": "/usr/bin/qemu-system-x86_64"},
    machines={"x86_64": frozenset({"pc-q35-7.2", "q35"})},
    networks=frozenset({"default"}),
    bridges=frozenset({"br0"}),
    mac_owners={},
    qemu_owner=None,
)
AROUND = Surroundings(
    host=HOST,
    disks={"vda": RestoredDisk("/images/web 1's & co.qcow2", "qcow2"), "vdb": RestoredDisk("/images/b.raw", "raw")},
    console_dir=Path("/var/log/libvirt"),
    new_mac=None,
)
WHO = Identity("web <1> & 'co' ü", "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa", False)


def a_domain(devices: str = "", top: str = "", os: str = "", kind: str = "kvm", attributes: str = "") -> str:
    return f"""<domain type='{kind}' {attributes}><name>old</name><uuid>11111111-2222-3333-4444-555555555555</uuid>
    <memory unit='KiB'>65536</memory><vcpu placement='static' cpuset='0-3' current='1'>2</vcpu>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>{os}</os>{top}<devices>{devices}</devices></domain>"""


def rewritten(text: str, around: Surroundings = AROUND, who: Identity = WHO) -> tuple[ET.Element, list[str]]:
    """The new definition and the reasons of its warnings."""
    result = rewrite(text, who, around)
    return ET.fromstring(result.xml), [reason for reason, _ in result.warnings]


def all_text(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


def test_golden() -> None:
    text = a_domain(
        devices="""<emulator>/tmp/evil</emulator>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' discard='unmap' io='native'/>
          <source file='/etc/shadow' index='1'/><backingStore type='file'><source file='/etc/passwd'/></backingStore>
          <target dev='vda' bus='virtio'/><serial>S-1</serial><boot order='1'/><address type='pci' bus='0x04' slot='0x00'/></disk>
        <disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda' bus='sata'/><readonly/></disk>
        <interface type='network'><mac address='52:54:00:0A:0B:0C'/><source network='default' portid='1'/><target dev='vnet0'/>
          <model type='virtio'/></interface>
        <rng model='virtio'><backend model='egd' type='tcp'/></rng>""",
        top="<cpu mode='host-passthrough' check='none'/><features><acpi/><apic/></features><on_crash>destroy</on_crash>",
        os="<boot dev='hd'/>",
    )
    assert (
        rewrite(text, WHO, AROUND).xml
        == """\
<domain type="kvm">
  <name>web &lt;1&gt; &amp; 'co' ü</name>
  <uuid>0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa</uuid>
  <memory unit="KiB">65536</memory>
  <vcpu current="1">2</vcpu>
  <features>
    <acpi />
    <apic />
  </features>
  <on_crash>destroy</on_crash>
  <os>
    <type arch="x86_64" machine="pc-q35-7.2">hvm</type>
    <boot dev="hd" />
  </os>
  <cpu mode="host-passthrough" check="none" />
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" cache="none" discard="unmap" />
      <source file="/images/web 1's &amp; co.qcow2" />
      <target dev="vda" bus="virtio" />
      <boot order="1" />
      <address type="pci" bus="0x04" slot="0x00" />
      <serial>S-1</serial>
    </disk>
    <disk type="file" device="cdrom">
      <driver name="qemu" type="raw" />
      <target dev="sda" bus="sata" />
      <readonly />
    </disk>
    <interface type="network">
      <mac address="52:54:00:0a:0b:0c" />
      <source network="default" />
      <model type="virtio" />
    </interface>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
  </devices>
</domain>"""
    )


EVIL = "/tmp/evil"


@pytest.mark.parametrize(
    "text",
    [
        a_domain(devices=f"<emulator>{EVIL}</emulator>"),
        a_domain(devices=f"<hostdev mode='subsystem' type='pci'><source><x>{EVIL}</x></source></hostdev>"),
        a_domain(devices=f"<filesystem type='mount'><source dir='{EVIL}'/><target dir='t'/></filesystem>"),
        a_domain(devices=f"<disk type='file' device='disk'><source file='{EVIL}'/><target dev='vdz'/></disk>"),
        a_domain(devices=f"<disk type='block' device='cdrom'><source dev='{EVIL}'/><target dev='sda'/></disk>"),
        a_domain(devices=f"<interface type='ethernet'><script path='{EVIL}'/><target dev='t0'/></interface>"),
        a_domain(devices=f"<interface type='vhostuser'><source type='unix' path='{EVIL}' mode='client'/></interface>"),
        a_domain(devices=f"<serial type='file'><source path='{EVIL}'/><log file='{EVIL}'/></serial>"),
        a_domain(devices=f"<serial type='unix'><source mode='bind' path='{EVIL}'/></serial>"),
        a_domain(devices=f"<console type='dev'><source path='{EVIL}'/></console>"),
        a_domain(
            devices=f"<channel type='unix'><source path='{EVIL}'/><target type='virtio' name='{EVIL}'/></channel>"
        ),
        a_domain(devices=f"<graphics type='vnc' socket='{EVIL}'><listen type='socket' socket='{EVIL}'/></graphics>"),
        a_domain(devices=f"<graphics type='spice'><gl enable='yes' rendernode='{EVIL}'/></graphics>"),
        a_domain(devices=f"<video><model type='virtio'/><driver vgaconf='io'/><rom file='{EVIL}'/></video>"),
        a_domain(devices=f"<controller type='scsi'><driver x='{EVIL}'/><x y='{EVIL}'/></controller>"),
        a_domain(devices=f"<input type='evdev'><source dev='{EVIL}'/></input>"),
        a_domain(devices=f"<tpm><backend type='passthrough'><device path='{EVIL}'/></backend></tpm>"),
        a_domain(devices=f"<shmem name='x'><server path='{EVIL}'/></shmem>"),
        a_domain(devices=f"<memory model='nvdimm'><source><path>{EVIL}</path></source></memory>"),
        a_domain(devices=f"<vsock><source dev='{EVIL}'/></vsock>"),
        a_domain(os=f"<kernel>{EVIL}</kernel><initrd>{EVIL}</initrd><cmdline>init={EVIL}</cmdline><dtb>{EVIL}</dtb>"),
        a_domain(os=f"<loader type='rom'>{EVIL}</loader>"),
        a_domain(os=f"<loader readonly='yes' type='pflash'>{EVIL}</loader><nvram template='{EVIL}'>{EVIL}</nvram>"),
        a_domain(top=f"<seclabel type='static'><label>{EVIL}</label></seclabel>"),
        a_domain(top=f"<memoryBacking><source type='file'/><x>{EVIL}</x></memoryBacking>"),
        a_domain(top=f"<sysinfo type='fwcfg'><entry name='opt/x' file='{EVIL}'/></sysinfo>"),
        a_domain(
            top=f"<metadata><x>{EVIL}</x></metadata><launchSecurity type='sev'><dhCert>{EVIL}</dhCert></launchSecurity>"
        ),
        a_domain(top=f"<features><x>{EVIL}</x><acpi y='{EVIL}'/></features><pm z='{EVIL}'/>"),
        a_domain(
            attributes="xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'",
            top=f"<qemu:commandline><qemu:arg value='{EVIL}'/></qemu:commandline>",
        ),
        a_domain(
            attributes="xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'",
            top=f"<features><qemu:x qemu:y='{EVIL}'/></features>",
        ),
    ],
)
def test_no_path_of_the_other_host_survives(text: str) -> None:
    result = rewrite(text, WHO, AROUND).xml
    assert "evil" not in result and "qemu:" not in result and "ns0" not in result


def test_dropped_things_are_warned_about() -> None:
    _, reasons = rewritten(
        a_domain(
            devices="<hostdev mode='subsystem'/><disk type='file' device='disk'><target dev='vdx'/></disk>",
            os="<kernel>/boot/vmlinuz</kernel><loader type='pflash'>/x</loader>",
            top="<seclabel type='none'/>",
        )
    )
    assert reasons == ["ELEMENT_DROPPED", "NVRAM_FRESH", "DIRECT_BOOT_DROPPED", "DEVICE_DROPPED", "DISK_ABSENT"]


def test_emulation_without_kvm() -> None:
    slow = replace(AROUND, host=replace(HOST, kvm_arches=frozenset()))
    domain, reasons = rewritten(a_domain(top="<cpu mode='host-passthrough'/>"), slow)
    assert domain.get("type") == "qemu" and domain.find("cpu") is None and reasons == ["EMULATED"]
    domain, reasons = rewritten(a_domain(kind="qemu"), slow)
    assert domain.get("type") == "qemu" and reasons == []


def test_usual_devices_of_a_desktop_vm_stay_without_a_word() -> None:
    usual = """<controller type='usb' model='qemu-xhci' ports='15'/><input type='tablet' bus='usb'/><sound model='ich9'/>
    <audio id='1' type='spice'/><redirdev bus='usb' type='spicevmc'/><video><model type='qxl' ram='65536' heads='1' primary='yes'/></video>
    <graphics type='spice' autoport='yes' passwd='x'><listen type='address' address='0.0.0.0'/></graphics>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel><vsock><cid auto='no' address='7'/></vsock>
    <channel type='unix'><source mode='bind' path='/x'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'/><watchdog model='itco' action='reset'/><panic model='isa'/>"""
    domain, reasons = rewritten(a_domain(devices=usual))
    assert reasons == []
    assert sorted(one.tag for one in domain.iterfind("devices/*")) == sorted(
        "emulator controller input sound audio redirdev video graphics channel vsock channel memballoon watchdog panic".split()
    )
    text = all_text(domain)
    assert "0.0.0.0" not in text and "/x" not in text and "org.qemu.guest_agent.0" in text


def test_a_display_keeps_its_password() -> None:
    """Else a VM comes back less protected than it was."""
    passwords = ["a'b\"<&", "", "x" * 65, "a\x7fb"]
    kept = []
    for password in passwords:
        display = ET.tostring(ET.Element("graphics", type="vnc", passwd=password, passwdValidTo="2030-01-01T00:00:00"))
        domain, _ = rewritten(a_domain(devices=display.decode()))
        built = domain.find("devices/graphics")
        assert built is not None
        kept.append((built.get("passwd"), built.get("passwdValidTo")))
    assert kept == [("a'b\"<&", "2030-01-01T00:00:00"), (None, None), (None, None), (None, None)]


def test_uefi_uses_this_hosts_firmware() -> None:
    domain, reasons = rewritten(a_domain(os="<loader secure='yes' type='pflash'>/x.fd</loader><nvram>/y.fd</nvram>"))
    system = domain.find("os")
    assert system is not None and system.get("firmware") == "efi" and reasons == ["NVRAM_FRESH"]
    assert [(row.attrib, row.text) for row in system.iterfind("loader")] == [({"secure": "yes"}, None)]


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ("<interface type='bridge'><source bridge='br0'/></interface>", ("bridge", "br0", None)),
        ("<interface type='bridge'><source bridge='br7'/></interface>", ("user", None, "down")),
        ("<interface type='network'><source network='gone'/></interface>", ("user", None, "down")),
        ("<interface type='direct'><source dev='eth0' mode='bridge'/></interface>", ("user", None, "down")),
    ],
)
def test_interfaces(interface: str, expected: tuple[str, str | None, str | None]) -> None:
    domain, reasons = rewritten(a_domain(devices=interface))
    built = domain.find("devices/interface")
    assert built is not None
    source, link = built.find("source"), built.find("link")
    name = None if source is None else source.get(expected[0])
    assert (built.get("type"), name, None if link is None else link.get("state")) == expected
    assert reasons == (["NETWORK_MISSING"] if expected[0] == "user" else [])


def test_interface_keeps_its_port_group_and_tells_of_its_filter() -> None:
    interface = "<interface type='network'><source network='default' portgroup='vlan-7'/><filterref filter='clean'/></interface>"
    domain, reasons = rewritten(a_domain(devices=interface))
    source = domain.find("devices/interface/source")
    assert source is not None and source.attrib == {"network": "default", "portgroup": "vlan-7"}
    assert reasons == ["FILTER_DROPPED"]


def test_video_loses_the_acceleration_that_no_display_offers() -> None:
    video = "<video><model type='virtio' heads='1'><acceleration accel3d='yes'/></model></video>"
    model = rewritten(a_domain(devices=video))[0].find("devices/video/model")
    assert model is not None and model.attrib == {"type": "virtio", "heads": "1"} and len(model) == 0


def test_user_network_stays() -> None:
    domain, reasons = rewritten(a_domain(devices="<interface type='user'><model type='e1000'/></interface>"))
    assert domain.find("devices/interface/link") is None and reasons == []


def test_new_identity_changes_mac_and_smbios() -> None:
    devices = "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"
    top = "<sysinfo type='smbios'><system><entry name='uuid'>1</entry><entry name='serial'>7</entry></system></sysinfo>"
    around = replace(AROUND, new_mac=lambda: "52:54:00:99:99:99")
    domain, _ = rewritten(a_domain(devices=devices, top=top), around, replace(WHO, is_new=True))
    assert "52:54:00:00:00:01" not in all_text(domain) and "52:54:00:99:99:99" in all_text(domain)
    assert [entry.get("name") for entry in domain.iterfind("sysinfo/system/entry")] == ["serial"]


def test_console_files() -> None:
    console = "<serial type='file'><source path='/var/log/libvirt/qemu/web.console'/><target type='isa-serial' port='0'/></serial>"
    domain, reasons = rewritten(a_domain(devices=console))
    source = domain.find("devices/serial/source")
    assert source is not None and reasons == []
    assert source.attrib == {"path": "/var/log/libvirt/qemu/web.console", "append": "on"}
    folder = Path("/var/log/libvirt")
    assert is_console_file("/var/log/libvirt/web 1.console", folder)
    for path in (
        "/var/log/libvirt/qemu/other.log",
        "/var/log/libvirt/../x",
        "/var/log/libvirt/qemu/a/b",
        "/var/log/libvirt/qemu/",
        "/var/log/libvirt/qemu//x",
        "/etc/x",
        "",
    ):
        assert not is_console_file(path, folder), path


@pytest.mark.parametrize(
    "text",
    [
        "<domain/>",
        "<network/>",
        "<domain><os><type>exe</type></os></domain>",
        "<!DOCTYPE domain><domain/>",
        "",
    ],
)
def test_unusable_definitions_are_refused(text: str) -> None:
    with pytest.raises((RestoreRefused, XmlRefused)):
        rewrite(text, WHO, AROUND)


def test_a_medium_that_stays_behind_is_said() -> None:
    with_medium = "<disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sda' bus='sata'/></disk>"
    built, reasons = rewritten(a_domain(devices=with_medium))
    assert reasons == ["MEDIUM_LEFT_OUT"]
    assert "x.iso" not in all_text(built)
    assert rewritten(a_domain(devices=with_medium.replace("<source file='/iso/x.iso'/>", "")))[1] == []
