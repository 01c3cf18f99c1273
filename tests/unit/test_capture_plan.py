"""How each disk is read, and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.capture.facts import CaptureFacts
from seawall.agent.capture.names import attempt_of, checkpoint_name, repository_prefix
from seawall.agent.capture.plan import (
    BITMAP_WHY,
    MOVED_BITMAP_WHY,
    OFF_BITMAP_WHY,
    CapturePlan,
    demote,
    plan_capture,
    to_take_over,
)
from seawall.agent.disk.identity import source_id, tells_of_writes
from seawall.agent.hypervisor.port import OFF, Domain, DomainDisk
from seawall.repository.format.manifest import Checkpoint, DiskManifest, Root

GIB = 1024**3


def a_disk(target: str, **changes: object) -> DomainDisk:
    disk = DomainDisk(target, "disk", "file", f"/images/{target}", "qcow2", GIB, False, False, False)
    return replace(disk, **changes)  # type: ignore[arg-type]


def manifest(target: str, size_bytes: int = GIB) -> DiskManifest:
    return DiskManifest(target, size_bytes, "qcow2", f"/images/{target}", 512, 0, 65536, "full", "", ())


def facts(*disks: DomainDisk) -> CaptureFacts:
    """vda and vdb in the parent, both with a bitmap in checkpoint c0."""
    parent = Root(
        lineage_id=b"l",
        tenant="t",
        vm_id="vm",
        vm_name="web",
        point_id="p",
        parent_point_id="",
        key_epoch=1,
        instant_us=1,
        guest_frozen=False,
        disks=(manifest("vda"), manifest("vdb")),
        members=(),
        checkpoint=Checkpoint("c0", "agent", "<domaincheckpoint/>", ("vda", "vdb")),
        warnings=(),
    )
    return CaptureFacts(
        domain=Domain("vm", "web", "running", disks or (a_disk("vda"), a_disk("vdb"))),
        keeps_bitmaps={"vda": True, "vdb": True, "vdc": True},
        parent=parent,
        bases={"c0": {"vda", "vdb"}},
        agent_id="agent",
        exclude=(),
    )


def methods(plan: CapturePlan) -> dict[str, str]:
    return {one.disk.target: one.how for one in plan.disks}


def test_all_by_bitmap() -> None:
    plan = plan_capture(facts())
    assert methods(plan) == {"vda": "bitmap", "vdb": "bitmap"}
    assert plan.base == "c0" and {one.why for one in plan.disks} == {BITMAP_WHY} and plan.warnings == ()


def test_without_a_parent_all_is_full() -> None:
    plan = plan_capture(replace(facts(), parent=None))
    assert methods(plan) == {"vda": "full", "vdb": "full"} and plan.base is None
    assert all(one.tracked for one in plan.disks)


def test_raw_and_old_qcow2_are_compared_and_untracked() -> None:
    given = replace(facts(a_disk("vda", format="raw"), a_disk("vdb")), keeps_bitmaps={"vda": False, "vdb": False})
    plan = plan_capture(given)
    assert methods(plan) == {"vda": "compare", "vdb": "compare"}
    assert "Raw disks" in plan.disks[0].why and "version 2" in plan.disks[1].why
    assert plan.base is None and not any(one.tracked for one in plan.disks)


def test_new_disk_is_full_beside_incremental_ones() -> None:
    plan = plan_capture(facts(a_disk("vda"), a_disk("vdc")))
    assert methods(plan) == {"vda": "bitmap", "vdc": "full"} and "new" in plan.disks[1].why


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (replace(facts(), bases={}), "gone"),
        (replace(facts(), bases={"c0": {"vdb"}}), "no bitmap of this disk"),
        (replace(facts(), agent_id="another"), "another host"),
        (facts(a_disk("vda", capacity_bytes=2 * GIB)), f"from {GIB} to {2 * GIB}"),
        (facts(a_disk("vda", source="/images/vdb"), a_disk("vdb", source="/images/vda")), "was /images/vda"),
    ],
    ids=["checkpoint gone", "disk not in it", "other host", "grown", "disks swapped"],
)
def test_doubt_costs_a_compare_of_that_disk(given: CaptureFacts, word: str) -> None:
    plan = plan_capture(given)
    assert plan.disks[0].how == "compare" and word in plan.disks[0].why and plan.disks[0].tracked


def test_snapshot_overlay_of_the_same_disk_keeps_the_bitmap() -> None:
    plan = plan_capture(facts(a_disk("vda", source="/images/overlay", backing=("/images/middle", "/images/vda"))))
    assert methods(plan) == {"vda": "bitmap"}


def test_parent_without_a_checkpoint() -> None:
    given = facts()
    assert given.parent is not None
    plan = plan_capture(replace(given, parent=replace(given.parent, checkpoint=None)))
    assert methods(plan) == {"vda": "compare", "vdb": "compare"}


def test_disks_left_out_are_warned_about_when_data_is_lost() -> None:
    given = facts(
        a_disk("vda"),
        a_disk("sda", device="cdrom"),
        a_disk("fda", device="floppy"),
        a_disk("sdb", source=""),
        a_disk("vdb", read_only=True),
        a_disk("vdc", transient=True),
        a_disk("vdd", shareable=True),
        a_disk("vde"),
        a_disk("sdf", device="lun"),
    )
    plan = plan_capture(replace(given, exclude=("vde",)))
    assert methods(plan) == {"vda": "bitmap"}
    assert [reason for reason, _ in plan.warnings] == [
        "DISK_READ_ONLY",
        "DISK_TRANSIENT",
        "DISK_SHAREABLE",
        "DISK_EXCLUDED",
        "DISK_PASSED_THROUGH",
    ]


def test_demoting_one_disk_keeps_the_base_for_the_other() -> None:
    plan = demote(plan_capture(facts()), "vda", "broken")
    assert methods(plan) == {"vda": "compare", "vdb": "bitmap"} and plan.base == "c0"
    plan = demote(plan, "", "broken too")
    assert methods(plan) == {"vda": "compare", "vdb": "compare"} and plan.base is None
    assert [one.why for one in plan.disks] == ["broken", "broken too"]


def test_repositories_made_in_one_minute_have_checkpoints_of_their_own() -> None:
    one, other = "019ab2c4-0001-7aaa-8000-00000000aaaa", "019ab2c4-0002-7bbb-8000-00000000bbbb"
    assert repository_prefix(one) != repository_prefix(other)


def test_names_tell_ours_from_foreign() -> None:
    name = checkpoint_name("0123456789abcdef", "2c1f-77")
    assert name == "seawall-89abcdef-2c1f-77" and attempt_of(name) == "2c1f-77"
    assert attempt_of("nightly-1") is None and attempt_of("seawall-") is None


def test_a_file_that_took_the_path_of_another_is_compared() -> None:
    """`mv a b` between points: same path, same size, a bitmap of the same name that tells of its own past."""
    given = facts()
    assert given.parent is not None
    vda, vdb = (replace(disk, source_id=f"inode:{number}") for number, disk in enumerate(given.parent.disks, 11))
    known = replace(given, parent=replace(given.parent, disks=(vda, vdb)))
    same = plan_capture(replace(known, source_ids={"/images/vda": "inode:11", "/images/vdb": "inode:12"}))
    assert methods(same) == {"vda": "bitmap", "vdb": "bitmap"}
    swapped = plan_capture(replace(known, source_ids={"/images/vda": "inode:12", "/images/vdb": "inode:11"}))
    assert methods(swapped) == {"vda": "compare", "vdb": "compare"}
    assert "another one" in swapped.disks[0].why


def test_a_point_of_a_vm_that_was_off_lends_its_bitmap_only_while_nobody_writes() -> None:
    """It is that of a point before: a copy from between the two, put back, has it too, and it lacks what the parent saw."""
    given = facts(a_disk("vda"))
    assert given.parent is not None
    vda = replace(given.parent.disks[0], source_id="inode:11@5+6")
    known = replace(given, parent=replace(given.parent, disks=(vda,)))
    still = off(replace(known, source_ids={"/images/vda": "inode:11@5+6"}), vda={"c0"})
    assert methods(plan_capture(still)) == {"vda": "bitmap"}
    written = off(replace(known, source_ids={"/images/vda": "inode:11@7+6"}), vda={"c0"})
    running = replace(known, source_ids={"/images/vda": "inode:11"})
    for now in (written, running):
        (plan,) = plan_capture(now).disks
        assert plan.how == "compare" and "was written since" in plan.why


def test_the_identity_of_a_file_goes_with_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.touch()
    two.touch()
    before = source_id(str(one))
    assert before.startswith("inode:") and before != source_id(str(two))
    told = source_id(str(one), as_written=True)
    assert told.startswith(f"{before}@") and tells_of_writes(told) and not tells_of_writes(before)
    one.write_text("x")
    assert source_id(str(one)) == before and source_id(str(one), as_written=True) != told
    two.replace(one)
    assert source_id(str(one)) != before
    assert source_id(str(two)) == source_id(str(tmp_path)) == source_id("nbd://host/export") == ""


def off(given: CaptureFacts, **stored: set[str]) -> CaptureFacts:
    """The same of a VM that is off: target -> the bitmaps in its file."""
    return replace(given, domain=replace(given.domain, state=OFF), stored=stored)


def test_a_vm_that_is_off_is_read_by_the_bitmaps_in_its_files_and_gets_no_new_ones() -> None:
    plan = plan_capture(off(facts(), vda={"c0"}, vdb={"c0", "another"}))
    assert methods(plan) == {"vda": "bitmap", "vdb": "bitmap"} and plan.base == "c0"
    assert {one.why for one in plan.disks} == {OFF_BITMAP_WHY} and not any(one.tracked for one in plan.disks)


def test_a_bitmap_that_qemu_did_not_close_costs_a_compare_while_the_vm_is_off() -> None:
    plan = plan_capture(off(facts(), vda={"another"}, vdb={"c0"}))
    assert methods(plan) == {"vda": "compare", "vdb": "bitmap"}
    assert "c0 is missing or inconsistent" in plan.disks[0].why


def test_a_file_laid_over_the_parents_is_compared_while_the_vm_is_off() -> None:
    """Each layer has a bitmap of its own, and only a running QEMU adds them up."""
    overlay = a_disk("vda", source="/images/overlay", backing=("/images/vda",))
    assert methods(plan_capture(facts(overlay))) == {"vda": "bitmap"}
    plan = plan_capture(off(facts(overlay), vda={"c0"}))
    assert methods(plan) == {"vda": "compare"} and "/images/overlay now" in plan.disks[0].why


def test_old_qcow2_of_a_vm_that_is_off_says_so() -> None:
    plan = plan_capture(off(replace(facts(), keeps_bitmaps={"vda": False, "vdb": True}), vda={"c0"}, vdb={"c0"}))
    assert "version 2" in plan.disks[0].why and plan.disks[1].how == "bitmap"


def moved(given: CaptureFacts, source_ids: dict[str, str] | None = None) -> CaptureFacts:
    """The same after a move to another host, whose storage has the very files unless `source_ids` says otherwise."""
    assert given.parent is not None
    disks = tuple(replace(one, source_id=f"inode:{one.disk}") for one in given.parent.disks)
    now = {one.source: one.source_id for one in disks} if source_ids is None else source_ids
    parent = replace(given.parent, disks=disks)
    return replace(given, agent_id="another", parent=parent, bases={}, source_ids=now)


def test_bitmaps_that_libvirt_took_over_are_used_on_the_new_host() -> None:
    given = moved(facts())
    assert to_take_over(given) == ("vda", "vdb")
    plan = plan_capture(replace(given, bases={"c0": {"vda"}}))
    assert methods(plan) == {"vda": "bitmap", "vdb": "compare"} and plan.base == "c0"
    assert plan.disks[0].why == MOVED_BITMAP_WHY
    plan = plan_capture(given)
    assert methods(plan) == {"vda": "compare", "vdb": "compare"} and "no sound dirty bitmap c0" in plan.disks[0].why


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (moved(facts(), {}), "another one than at the parent point"),
        (moved(facts(), {"/images/vda": "inode:7", "/images/vdb": "inode:8"}), "another one than at the parent point"),
        (replace(facts(), agent_id="another", bases={}), "the same storage"),
        (moved(facts(a_disk("vda", source="/o", backing=("/images/vda",)))), "/o now"),
        (moved(facts(a_disk("vda", capacity_bytes=2 * GIB))), "size changed"),
        (moved(replace(facts(), keeps_bitmaps={})), "version 2"),
    ],
    ids=["no such files", "other files", "devices", "an overlay", "grown", "old qcow2"],
)
def test_nothing_is_taken_over_that_may_be_of_another_disk(given: CaptureFacts, word: str) -> None:
    assert to_take_over(given) == ()
    plan = plan_capture(replace(given, bases={"c0": {"vda", "vdb"}}))
    assert plan.disks[0].how == "compare" and word in plan.disks[0].why, "though libvirt lists such a checkpoint"


def test_only_what_stayed_at_home_needs_nothing_taken_over() -> None:
    assert to_take_over(facts()) == to_take_over(replace(moved(facts()), bases={"c0": {"vda"}})) == ()
    assert to_take_over(replace(moved(facts()), exclude=("vda",))) == ("vdb",)
    assert to_take_over(off(moved(facts()), vda={"c0"})) == (), "libvirt lists no checkpoint of a VM that is off for us"


def test_a_vm_that_moved_while_it_was_off_is_read_by_the_bitmaps_in_its_files() -> None:
    plan = plan_capture(off(moved(facts()), vda={"c0"}, vdb=set()))
    assert methods(plan) == {"vda": "bitmap", "vdb": "compare"} and plan.disks[0].why == MOVED_BITMAP_WHY


def test_rbd_images_and_logical_volumes_are_compared_and_qcow2_on_a_volume_has_bitmaps() -> None:
    """Untested on a real Ceph and a real LVM: what is decided of them."""
    rbd = a_disk("vda", source_type="network", source="rbd:pool/space/disk", format="raw")
    volume = a_disk("vdb", source_type="block", source="/dev/vg/db", format="raw")
    plan = plan_capture(replace(facts(rbd, volume), keeps_bitmaps={}))
    assert methods(plan) == {"vda": "compare", "vdb": "compare"} and not any(one.tracked for one in plan.disks)
    assert all("Raw disks store no dirty bitmap" in one.why for one in plan.disks)
    given = facts(a_disk("vda", source_type="block", source="/dev/vg/db"))
    assert given.parent is not None
    before = replace(given.parent.disks[0], source="/dev/vg/db")
    plan = plan_capture(replace(given, parent=replace(given.parent, disks=(before,))))
    assert methods(plan) == {"vda": "bitmap"} and plan.disks[0].tracked
