"""When a capture must end."""

import pytest

from seawall.agent.capture.limits import LEAST_FREE_BYTES, Limits, Sight, judge, limits_for, refuse_without_room
from seawall.agent.errors import ScratchFull
from seawall.agent.hypervisor.port import JobStatus

MIB = 1024**2
GIB = 1024**3
LIMITS = Limits(scratch_stop_bytes=80, free_floor_bytes=20, owner_silence_seconds=10)


def reason(active: bool = True, used: int = 0, free: int = 100, silence: float = 0) -> str | None:
    error = judge(Sight(JobStatus(active, used), free, silence), LIMITS)
    return error.reason if error else None


def test_verdicts() -> None:
    assert reason(used=80, free=20, silence=10) is None
    assert reason(used=81) == "SCRATCH_FULL"
    assert reason(free=19) == "SCRATCH_FULL"
    assert reason(silence=11) == "OWNER_SILENT"
    assert reason(active=False, used=81) == "VM_STOPPED"


@pytest.mark.parametrize(
    ("quota", "virtual", "free", "stop"),
    [
        (None, 100 * GIB, 500 * GIB, 16 * GIB),  # 80 % of a fifth
        (None, 500 * MIB, 500 * GIB, 400 * MIB),  # a small VM may use all of its size
        (None, 100 * GIB, 10 * GIB, 8 * GIB),  # no more than is free
        (5 * GIB, 100 * GIB, 500 * GIB, 4 * GIB),
        (5 * GIB, 100 * GIB, GIB, GIB * 80 // 100),
    ],
)
def test_limits(quota: int | None, virtual: int, free: int, stop: int) -> None:
    limits = limits_for(quota, 80, virtual, free, 10)
    assert limits.scratch_stop_bytes == stop
    assert limits.scratch_stop_bytes + limits.free_floor_bytes <= free


def test_no_job_begins_without_room_for_scratch() -> None:
    refuse_without_room(GIB, LEAST_FREE_BYTES)
    refuse_without_room(10 * MIB, 10 * MIB)  # scratch never holds more than the disks
    with pytest.raises(ScratchFull, match=str(LEAST_FREE_BYTES)) as caught:
        refuse_without_room(GIB, 10 * MIB)
    assert "scratch folder" in caught.value.next_step
