"""How the disks of a VM that is off are opened: options of QEMU's block layer from libvirt's XML."""

from xml.etree import ElementTree

import pytest

from seawall.agent.errors import DiskNeedsRunningVm
from seawall.agent.hypervisor.image_xml import image_of
from seawall.agent.hypervisor.port import DiskImage

OPENED: dict[str, object] = {"read-only": True, "force-share": True}
LUKS = "<encryption format='luks'><secret type='passphrase' uuid='u1'/></encryption>"


def secret_of(row: ElementTree.Element) -> bytes:
    return f"secret of {row.get('uuid')}".encode()


def image(source: str, driver: str = "qcow2", kind: str = "file") -> DiskImage:
    row = f"<disk type='{kind}'><driver name='qemu' type='{driver}'/>{source}<target dev='vda'/></disk>"
    return image_of(ElementTree.fromstring(row), secret_of)


def test_a_file_is_opened_in_its_format_without_locks() -> None:
    found = image("<source file='/images/a, b.qcow2'/>")
    assert found == DiskImage(
        "vda",
        OPENED | {"driver": "qcow2", "file": {"driver": "file", "filename": "/images/a, b.qcow2"}},
        "/images/a, b.qcow2",
    )


def test_a_disk_without_a_driver_is_raw() -> None:
    row = ElementTree.fromstring("<disk type='file'><source file='/i'/><target dev='vda'/></disk>")
    assert image_of(row, secret_of).options["driver"] == "raw"


def test_a_device_is_read_past_this_hosts_cache() -> None:
    found = image("<source dev='/dev/vg/disk'/>", "raw", "block")
    storage = {"driver": "host_device", "filename": "/dev/vg/disk", "cache": {"direct": True}}
    assert found.options == OPENED | {"driver": "raw", "file": storage} and found.path == "/dev/vg/disk"


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("<host transport='unix' socket='/run/nbd'/>", {"type": "unix", "path": "/run/nbd"}),
        ("<host name='store' port='10810'/>", {"type": "inet", "host": "store", "port": "10810"}),
        ("<host name='store'/>", {"type": "inet", "host": "store", "port": "10809"}),
    ],
)
def test_nbd(host: str, server: dict[str, str]) -> None:
    found = image(f"<source protocol='nbd' name='disk'>{host}</source>", "raw", "network")
    assert found.options == OPENED | {"driver": "raw", "file": {"driver": "nbd", "server": server, "export": "disk"}}
    assert found.path == ""


def test_rbd_with_its_secret() -> None:
    source = """<source protocol='rbd' name='pool/space/disk'><host name='mon1' port='6789'/><host name='mon2'/><config file='/etc/c'/>
    <auth username='libvirt'><secret type='ceph' uuid='u2'/></auth></source>"""
    found = image(source, "raw", "network")
    assert found.options["file"] == {
        "driver": "rbd",
        "pool": "pool",
        "namespace": "space",
        "image": "disk",
        "server": [{"host": "mon1", "port": "6789"}, {"host": "mon2", "port": "6789"}],
        "conf": "/etc/c",
        "user": "libvirt",
        "key-secret": "vda-0",
    }
    assert found.secrets == (("vda-0", b"secret of u2"),)


def test_encrypted_images_name_a_secret_that_no_text_of_ours_shows() -> None:
    found = image(f"<source file='/i'>{LUKS}</source>")
    assert found.options["encrypt"] == {"format": "luks", "key-secret": "vda-0"}
    assert found.secrets == (("vda-0", b"secret of u1"),) and "secret of" not in repr(found)
    raw = image(f"<source file='/i'>{LUKS}</source>", "raw")
    assert raw.options["driver"] == "luks" and raw.options["key-secret"] == "vda-0"


@pytest.mark.parametrize(
    "source",
    [
        "<source protocol='nbd' name='x' tls='yes'><host name='h'/></source>",
        "<source protocol='iscsi' name='iqn.x/1'><host name='h'/></source>",
        "<source protocol='rbd' name='pool'/>",
        "<source type='pci'/>",
        "<source file='/i'><slices><slice type='storage' offset='1' size='2'/></slices></source>",
        "<source file='/i'><encryption format='luks2'/></source>",
        "<source file='/i'><encryption format='luks'/></source>",
        "",
    ],
    ids=["nbd with tls", "iscsi", "rbd without image", "nvme", "slice", "encryption", "no secret", "nothing"],
)
def test_what_only_the_running_vm_opens_is_refused_by_name(source: str) -> None:
    with pytest.raises(DiskNeedsRunningVm, match="vda"):
        image(source)


def test_a_format_is_a_word() -> None:
    with pytest.raises(DiskNeedsRunningVm):
        image("<source file='/i'/>", "raw,file.locking=on")
