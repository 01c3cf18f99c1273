"""The keys that limits on storages count by: what hosts share, what is a host's own, what an agent may not say, and older agents."""

from dataclasses import replace

import pytest

from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.storage import keys_of, storages_of, with_host_name
from seawall.controller.admission.words import storage_key
from seawall.controller.database.columns import dump, load_tuple
from seawall.controller.records.fleet import VmDisk
from support.admission_facts import fleet_facts
from support.controller_records import a_host

ALPHA, BETA = "0192f3c1-0000-4000-8000-00000000000a", "0192f3c1-0000-4000-8000-00000000000b"


def a_disk(source: str, *storages: str, device: str = "disk") -> VmDisk:
    return VmDisk("vda", 1 << 30, "qcow2", source, False, device, storages)


def test_two_hosts_share_what_both_call_by_one_name_and_nothing_else() -> None:
    shared = [a_disk("/mnt/a/web/disk.qcow2", "nfs:nas:/vol1")]
    own = [a_disk("/images/web/disk.qcow2", "/images")]
    assert storages_of(ALPHA, shared) == storages_of(BETA, shared) == ("nfs:nas:/vol1",)
    assert (storages_of(ALPHA, own), storages_of(BETA, own)) == ((f"{ALPHA}:/images",), (f"{BETA}:/images",))


def test_vms_with_directories_of_their_own_are_on_one_storage() -> None:
    disks = [a_disk(f"/images/vm-{number}/disk.qcow2", "/") for number in range(3)]
    assert {storages_of(ALPHA, [disk]) for disk in disks} == {(f"{ALPHA}:/",)}


def test_backing_files_count_and_drives_do_not() -> None:
    disks = [
        a_disk("/images/a.qcow2", "/images", "nfs:nas:/golden"),
        a_disk("/iso/a.iso", "nfs:nas:/iso", device="cdrom"),
        a_disk("", device="disk"),
    ]
    assert storages_of(ALPHA, disks) == (f"{ALPHA}:/images", "nfs:nas:/golden")


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("/images/web/disk.qcow2", f"{ALPHA}:/images/web"),
        ("/dev/vg0/lv", f"{ALPHA}:/dev/vg0"),
        ("pool:default/a.qcow2", f"{ALPHA}:pool:default"),
        ("rbd:pool/image", "rbd:pool"),
    ],
)
def test_an_agent_that_does_not_tell_keeps_its_keys(source: str, key: str) -> None:
    assert keys_of(ALPHA, a_disk(source)) == (key,)


@pytest.mark.parametrize(
    "told", [f"{BETA}:/images", "/images", "pool:default", "nonsense", "host b:/x", "NFS:x", "nfs:", ":x"]
)
def test_no_agent_names_another_hosts_storage(told: str) -> None:
    assert keys_of(ALPHA, a_disk("/images/a", told)) == (f"{ALPHA}:{told}",)


def test_disks_as_older_controllers_kept_them_are_read() -> None:
    disk = a_disk("/images/web/disk.qcow2", "/images")
    assert load_tuple(VmDisk, dump((disk,))) == (disk,)
    older = dump((disk,)).replace(',"storages":["/images"]', "")
    assert "storages" not in older
    assert load_tuple(VmDisk, older) == (replace(disk, storages=()),)


@pytest.fixture
def facts() -> FleetFacts:
    return fleet_facts([replace(a_host("id-1"), name="kvm1"), replace(a_host("id-2"), name="nfs")], [], [])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("kvm1:/srv", "id-1:/srv"),
        ("id-1:/srv", "id-1:/srv"),
        ("kvm1:/dev/vg0", "id-1:/dev/vg0"),
        ("kvm1:pool:default", "id-1:pool:default"),
        ("nfs:/srv", "id-2:/srv"),
        ("nfs:nas:/vol1", "nfs:nas:/vol1"),
        ("rbd:pool", "rbd:pool"),
    ],
)
def test_operators_write_hosts_by_name_and_shared_storages_as_they_are(facts: FleetFacts, text: str, key: str) -> None:
    assert storage_key(facts, text) == key


def test_operators_read_the_names_of_hosts() -> None:
    assert with_host_name(f"{ALPHA}:/srv", ALPHA, "kvm1") == "kvm1:/srv"
    assert with_host_name("nfs:nas:/vol1", ALPHA, "kvm1") == "nfs:nas:/vol1"
