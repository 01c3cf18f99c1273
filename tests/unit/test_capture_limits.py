"""When a capture must end."""

import math
from pathlib import Path

import pytest

from seawall.agent.capture.limits import (
    FASTEST_BYTES_PER_SECOND,
    RESERVE_BYTES,
    Limits,
    Sight,
    free_room_bytes,
    judge,
    limits_for,
    most_bytes,
    pause_seconds,
    refuse_without_room,
    room_bytes,
    used_bytes,
)
from seawall.agent.errors import ScratchFull

MIB = 1024**2
GIB = 1024**3
LIMITS = Limits(scratch_stop_bytes=80, free_floor_bytes=20, owner_silence_seconds=10, most_bytes=1000)


def reason(active: bool = True, used: int = 0, free: int = 100, silence: float = 0) -> str | None:
    error = judge(Sight(active, used, free, silence), LIMITS)
    return error.reason if error else None


def test_verdicts() -> None:
    assert reason(used=80, free=20, silence=10) is None
    assert reason(used=81) == "SCRATCH_FULL"
    assert reason(free=19) == "SCRATCH_FULL"
    assert reason(silence=11) == "OWNER_SILENT"
    assert reason(active=False, used=81) == "VM_STOPPED"


@pytest.mark.parametrize(
    ("quota", "virtual", "free", "stop", "floor"),
    [
        (None, 100 * GIB, 500 * GIB, 16 * GIB, 4 * GIB),  # 80 % of a fifth
        (None, 500 * MIB, 500 * GIB, 400 * MIB, RESERVE_BYTES),  # a small VM may use all of its size
        (None, 100 * GIB, 10 * GIB, 8 * GIB, 2 * GIB),  # no more than is free
        (5 * GIB, 100 * GIB, 500 * GIB, 4 * GIB, GIB),
        (5 * GIB, 100 * GIB, GIB, GIB * 80 // 100, RESERVE_BYTES),
        (10 * MIB, 100 * GIB, 500 * GIB, 8 * MIB, RESERVE_BYTES),  # a small quota makes no guest slower
    ],
)
def test_limits(quota: int | None, virtual: int, free: int, stop: int, floor: int) -> None:
    limits = limits_for(quota, 80, virtual, free, 10)
    assert (limits.scratch_stop_bytes, limits.free_floor_bytes) == (stop, floor)


def test_what_cannot_be_written_need_not_be_free() -> None:
    """Scratch of a small VM may fill its file system: it holds each cluster once."""
    limits = limits_for(None, 100, GIB // 4, GIB // 2, 10)
    used = 200 * MIB
    assert room_bytes(used, limits.most_bytes - used, limits) == 0
    assert room_bytes(used, limits.most_bytes - used - 1, limits) < 0


@pytest.mark.parametrize("virtual", [300 * MIB, GIB, 100 * GIB])
@pytest.mark.parametrize("begun_with", [GIB + MIB, 4 * GIB, 500 * GIB])
def test_the_fastest_guest_is_seen_before_it_needs_the_reserve(virtual: int, begun_with: int) -> None:
    """It writes from any moment on at full speed; what is looked at shows less than there is, by one pause."""
    limits = limits_for(None, 80, virtual, begun_with, 10)
    used, free = 0, begun_with
    refuse_without_room(virtual, free)
    while room_bytes(used, free, limits) >= 0 and used < limits.most_bytes:
        room = free_room_bytes(used, free, limits)
        grown = min(math.ceil(pause_seconds(room, 1.0) * FASTEST_BYTES_PER_SECOND), limits.most_bytes - used)
        used, free = used + grown, free - grown
    assert free >= min(RESERVE_BYTES, limits.most_bytes - used) - 50 * MIB


def test_it_is_looked_at_the_more_often_the_less_room_is_left() -> None:
    assert pause_seconds(math.inf, 1.0) == pause_seconds(500 * GIB, 1.0) == 1.0
    assert 0 < pause_seconds(-1, 1.0) <= pause_seconds(100 * MIB, 1.0) < pause_seconds(GIB, 1.0) < 1.0


def test_no_job_begins_without_room_for_scratch() -> None:
    refuse_without_room(100 * GIB, 2 * RESERVE_BYTES)
    refuse_without_room(10 * MIB, most_bytes(10 * MIB))  # scratch never holds more than the disks and its tables
    with pytest.raises(ScratchFull, match=str(10 * MIB)):
        refuse_without_room(10 * MIB, 10 * MIB)
    with pytest.raises(ScratchFull, match=str(2 * RESERVE_BYTES)) as caught:
        refuse_without_room(100 * GIB, 2 * RESERVE_BYTES - 1)
    assert "scratch folder" in caught.value.next_step


def test_used_is_what_the_files_hold(tmp_path: Path) -> None:
    (tmp_path / "vda.scratch").write_bytes(b"x" * 1000)
    (tmp_path / "vdb.scratch").write_bytes(b"x" * 234)
    assert used_bytes(tmp_path) == 1234
    with pytest.raises(FileNotFoundError):
        used_bytes(tmp_path / "gone")
