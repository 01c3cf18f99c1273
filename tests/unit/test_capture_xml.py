"""XML that libvirt gets and gives."""

from pathlib import Path

import pytest

from seawall.agent.hypervisor.capabilities import emulators, host_arch, kvm_arches, machines, qemu_owner
from seawall.agent.hypervisor.port import BackupDisk
from seawall.agent.hypervisor.xml import (
    XmlRefused,
    backup_socket,
    backup_xml,
    checkpoint_again,
    checkpoint_targets,
    checkpoint_xml,
    disks_of,
    mac_addresses,
    parse,
)

TARGETS = ("vda", "vdb", "vdc", "sda")
DISKS = (
    BackupDisk("vda", Path("/s/vda"), "c0", True),
    BackupDisk("vdb", Path("/s/a 'b' & \"c\" ü"), None, True),
    BackupDisk("vdc", Path("/s/vdc"), None, False),
)


def test_incremental_backup_document() -> None:
    assert (
        backup_xml(DISKS, TARGETS, Path("/run/x/nbd.sock"))
        == """\
<domainbackup mode="pull">
  <incremental>c0</incremental>
  <server transport="unix" socket="/run/x/nbd.sock" />
  <disks>
    <disk name="vda" type="file" backupmode="incremental" incremental="c0">
      <scratch file="/s/vda" />
    </disk>
    <disk name="vdb" type="file" backupmode="full">
      <scratch file="/s/a 'b' &amp; &quot;c&quot; ü" />
    </disk>
    <disk name="vdc" type="file" backupmode="full">
      <scratch file="/s/vdc" />
    </disk>
    <disk name="sda" backup="no" />
  </disks>
</domainbackup>"""
    )


def test_full_backup_document_names_no_base() -> None:
    text = backup_xml([BackupDisk("vda", Path("/s/vda"), None, True)], ["vda"], Path("/x"))
    assert "incremental" not in text and "backupmode" not in text
    assert backup_socket(text) == Path("/x")


def test_checkpoint_document() -> None:
    text = checkpoint_xml("seawall-1", DISKS, TARGETS)
    assert (
        text
        == """\
<domaincheckpoint>
  <name>seawall-1</name>
  <disks>
    <disk name="vda" checkpoint="bitmap" />
    <disk name="vdb" checkpoint="bitmap" />
    <disk name="vdc" checkpoint="no" />
    <disk name="sda" checkpoint="no" />
  </disks>
</domaincheckpoint>"""
    )
    assert checkpoint_targets(text) == {"vda", "vdb"}


def test_disks_of_a_domain() -> None:
    domain = parse("""<domain><devices>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a&#x20;b.qcow2'/><target dev='vda'/>
        <blockio logical_block_size='4096'/></disk>
      <disk type='block' device='disk'><source dev='/dev/vg/x'/><target dev='vdb'/><shareable/></disk>
      <disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' name='p/i'/><target dev='vdc'/><transient/></disk>
      <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdd'/></disk>
      <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
      <disk type='file' device='disk'><source file='/no/target'/></disk>
      <interface type='network'><mac address='52:54:00:AA:00:01'/></interface></devices></domain>""")
    found = disks_of(domain)
    assert [(one.target, one.source, one.format) for one in found] == [
        ("vda", "/i/a b.qcow2", "qcow2"),
        ("vdb", "/dev/vg/x", "raw"),
        ("vdc", "rbd:p/i", "raw"),
        ("vdd", "pool:p/v", "raw"),
        ("sda", "", "raw"),
    ]
    assert [one.sector_bytes for one in found] == [4096, 512, 512, 512, 512]
    assert (found[1].shareable, found[2].transient, found[4].read_only, found[4].device) == (True, True, True, "cdrom")
    assert mac_addresses(domain) == ("52:54:00:aa:00:01",)


def test_backing_files_nearest_first() -> None:
    chain = """<backingStore type='file'><source file='/i/1'/><backingStore type='file'><source file='/i/0'/><backingStore/>
    </backingStore></backingStore>"""
    disk = f"<disk type='file'><source file='/i/2'/>{chain}<target dev='vda'/></disk>"
    (found,) = disks_of(parse(f"<domain><devices>{disk}</devices></domain>"))
    assert (found.source, found.backing) == ("/i/2", ("/i/1", "/i/0"))


def test_checkpoint_that_is_redefined_names_some_disks() -> None:
    disks = "<disk><target dev='vda'/></disk><disk><target dev='vdb'/></disk>"
    alone = checkpoint_again("c", ["vdb"], f"<domain><uuid>u</uuid><devices>{disks}</devices></domain>")
    assert checkpoint_targets(alone) == {"vdb"}
    assert "<name>c</name>" in alone and "<uuid>u</uuid>" in alone, "libvirt asks for both"


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!doctype a><a/>",
        "<a>&b;</a>",
        "<a>",
        "",
        "<a/><b/>",
        "<a>" * 100 + "</a>" * 100,
        "<a>" + " " * (4 * 1024 * 1024) + "</a>",
        "<a>\0</a>",
    ],
    ids=["entity", "doctype", "undefined entity", "open", "empty", "two roots", "deep", "long", "nul"],
)
def test_what_libvirt_never_writes_is_refused(text: str) -> None:
    with pytest.raises(XmlRefused):
        parse(text)


CAPABILITIES = """<capabilities><host><cpu><arch>x86_64</arch></cpu>
  <secmodel><model>apparmor</model><doi>0</doi></secmodel>
  <secmodel><model>dac</model><baselabel type='kvm'>+64055:+107</baselabel><baselabel type='qemu'>+64055:+107</baselabel></secmodel></host>
  <guest><os_type>hvm</os_type><arch name='x86_64'><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <machine maxCpus='255' canonical='pc-q35-7.2'>q35</machine><machine>pc-q35-7.1</machine>
    <domain type='qemu'/><domain type='kvm'><machine>microvm</machine></domain></arch></guest>
  <guest><os_type>hvm</os_type><arch name='aarch64'><emulator>/usr/bin/qemu-system-aarch64</emulator><domain type='qemu'/></arch></guest>
</capabilities>"""


def test_capabilities_of_a_host() -> None:
    assert host_arch(CAPABILITIES) == "x86_64" and kvm_arches(CAPABILITIES) == {"x86_64"}
    assert emulators(CAPABILITIES)["aarch64"] == "/usr/bin/qemu-system-aarch64"
    assert machines(CAPABILITIES)["x86_64"] == {"q35", "pc-q35-7.2", "pc-q35-7.1", "microvm"}
    assert qemu_owner(CAPABILITIES) == (64055, 107)
    assert qemu_owner("<capabilities><host/></capabilities>") is None
