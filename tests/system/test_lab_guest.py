"""The guest's verdict is worth something: good for what a guest wrote, bad for anything stale, mixed, lost or flipped."""

from collections.abc import Callable
from pathlib import Path

import pytest
from deploy.lab.guest_image import GuestImage, run_tool
from deploy.lab.guest_vm import GuestVm

from support.disk_pair import DiskPair
from support.replayed_truth import ReplayedTruth

pytest_plugins = ["support.laboratory"]
pytestmark = pytest.mark.system

BLOCK, CELL, RING_CELLS = 4096, 65536, 768
VDA_DATA = 32 << 20
TRIM = RING_CELLS * CELL

Disks = dict[str, Path]


def copy_and_resume(guest: GuestVm, folder: Path) -> Disks:
    instant = guest.copy_truth(folder)
    assert guest.state() == "paused"
    guest.resume()
    return instant


def test_a_guest_finds_its_writes_and_discards_again_after_a_restart(
    guest: GuestVm, guest_image: GuestImage, tmp_path: Path
) -> None:
    guest.await_writes(20)
    for _ in range(2):
        guest.command("trim")
    assert "VERDICT ok" in guest_image.tool_says("verify", copy_and_resume(guest, tmp_path))
    guest.hypervisor.virsh("domfsfreeze", guest.name)
    at_freeze = guest_image.tool_says("verify", copy_and_resume(guest, tmp_path))
    guest.await_ticks(6)
    later = guest_image.tool_says("verify", copy_and_resume(guest, tmp_path))
    assert later == at_freeze, "a frozen guest must not write"
    guest.hypervisor.virsh("domfsthaw", guest.name)
    written = guest.await_writes(10)
    guest.destroy()
    guest.start()
    verdict = guest.await_verdict()
    assert verdict.ok, verdict
    assert verdict.seq >= written
    assert verdict.generation == 4


def test_its_disks_are_replayed_byte_for_byte(guest: GuestVm, guest_image: GuestImage, tmp_path: Path) -> None:
    """Also where the guest itself does not look: behind its boot files, before its data."""
    truth = ReplayedTruth(guest_image, tmp_path / "truth")
    guest.await_writes(20)
    before = copy_and_resume(guest, tmp_path / "before")
    guest.await_writes(20)
    after = copy_and_resume(guest, tmp_path / "after")
    assert truth.assert_same(after) > truth.assert_same(before), "it begins anew for what lies before"
    _flip(after["vda"], VDA_DATA - 1)
    assert "VERDICT ok" in guest_image.tool_says("verify", after)
    with pytest.raises(AssertionError, match="vda after operation"):
        truth.assert_same(after)


@pytest.mark.slow
def test_after_a_crash_only_the_corrupted_block_is_bad_and_the_guest_leaves_the_disks_alone(guest: GuestVm) -> None:
    guest.await_writes(20)
    guest.kill_qemu()
    _flip(guest.disk_path("vdb"), 100 * CELL + 7 * BLOCK + 1234)
    guest.start()
    verdict = guest.await_verdict()
    assert not verdict.ok
    assert verdict.bad == 1
    guest.command("rate 10")
    assert guest.seq() == verdict.seq, "a guest with bad disks must not write on"


def flip_a_byte(now: Disks, before: Disks) -> None:
    _flip(now["vda"], VDA_DATA + 5 * CELL + 4000)


def put_back_one_old_block(now: Disks, before: Disks) -> None:
    _copy(before["vdb"], now["vdb"], 9 * CELL, BLOCK)


def lose_one_block(now: Disks, before: Disks) -> None:
    _write(now["vda"], VDA_DATA + 77 * CELL + 3 * BLOCK, bytes(BLOCK))


def bring_back_what_was_discarded(now: Disks, before: Disks) -> None:
    # four rounds on disk, of which round 4 discards cell 0; two rounds before it held data
    _copy(before["vdb"], now["vdb"], TRIM, CELL)


def bring_back_what_was_zeroed(now: Disks, before: Disks) -> None:
    # round 4 zeroes the middle of cell 1
    _copy(before["vda"], now["vda"], VDA_DATA + TRIM + CELL + 4 * BLOCK, 8 * BLOCK)


def swap_two_blocks(now: Disks, before: Disks) -> None:
    first, second = _read(now["vdb"], 0, BLOCK), _read(now["vdb"], CELL, BLOCK)
    _write(now["vdb"], 0, second)
    _write(now["vdb"], CELL, first)


def take_one_disk_of_another_instant(now: Disks, before: Disks) -> None:
    run_tool("cp", "--sparse=always", str(before["vda"]), str(now["vda"]))


def blank_both_disks(now: Disks, before: Disks) -> None:
    for path in now.values():
        size = path.stat().st_size
        path.write_bytes(b"")
        with path.open("r+b") as file:
            file.truncate(size)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        put_back_one_old_block,
        lose_one_block,
        bring_back_what_was_discarded,
        bring_back_what_was_zeroed,
        swap_two_blocks,
        take_one_disk_of_another_instant,
        blank_both_disks,
    ],
)
def test_the_verifier_calls_every_damage_bad(
    damage: Callable[[Disks, Disks], None], disks: DiskPair, guest_image: GuestImage
) -> None:
    damage(disks.now, disks.before)
    assert "VERDICT bad" in guest_image.tool_says("verify", disks.now)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _copy(source: Path, target: Path, offset: int, length: int) -> None:
    data = _read(source, offset, length)
    assert data != _read(target, offset, length), "the damage would change nothing"
    _write(target, offset, data)


def _flip(path: Path, offset: int) -> None:
    _write(path, offset, bytes([_read(path, offset, 1)[0] ^ 0xFF]))
