"""After scratch was full: what the next attempt does otherwise, and what stays as somebody said it."""

from pathlib import Path

import pytest

from seawall.agent.capture.limits import limits_for
from seawall.agent.capture.scratch_plan import plan_after
from seawall.agent.capture.settings import CaptureSettings

GIB = 1 << 30


def stop_bytes(share: float, virtual: int = 100 * GIB, free: int = 500 * GIB) -> int:
    return limits_for(None, 80, virtual, free, 10, share).scratch_stop_bytes


def test_a_first_attempt_has_no_plan() -> None:
    first = plan_after(0, quota_said=False, ceiling_said=False)
    assert first.sentence == "" and stop_bytes(first.share) == 16 * GIB


def test_each_further_attempt_has_more_room_and_less_regard() -> None:
    plans = [plan_after(ends, quota_said=False, ceiling_said=False) for ends in range(4)]
    assert [stop_bytes(plan.share) for plan in plans] == [16 * GIB, 80 * GIB, 80 * GIB, 80 * GIB]
    assert [plan.times_idle for plan in plans] == [2.0, 4.0, 16.0, 16.0]
    assert plans[1].sentence.startswith(
        "An earlier attempt ended because scratch was full. This time scratch may take all"
    )
    assert "4 times as long as in peace" in plans[1].sentence
    assert plans[2].sentence.startswith("2 earlier attempts")


def test_more_room_than_is_free_is_not_taken() -> None:
    again = plan_after(1, quota_said=False, ceiling_said=False)
    limits = limits_for(None, 80, 100 * GIB, 10 * GIB, 10, again.share)
    assert limits.scratch_stop_bytes == 8 * GIB and limits.free_floor_bytes == 2 * GIB


def test_what_somebody_said_stays() -> None:
    plan = plan_after(1, quota_said=True, ceiling_said=True)
    assert plan.share == plan_after(0, quota_said=True, ceiling_said=True).share
    assert "its scratch quota stays" in plan.sentence and "the latency ceiling stays" in plan.sentence


@pytest.mark.parametrize(
    ("freeze_ms", "quota", "share", "expected"),
    [
        (0, 0, 0.0, (10, 7 * GIB, 0.2)),
        (3000, 5 * GIB, 1.0, (3.0, 5 * GIB, 1.0)),
        (20_000, 9 * GIB, 0.0, (10, 7 * GIB, 0.2)),  # the host's own bounds are not widened
    ],
)
def test_a_backup_may_want_less_than_its_host_allows(
    freeze_ms: int, quota: int, share: float, expected: tuple[float, int, float]
) -> None:
    host = CaptureSettings(Path("/run/x"), Path("/scratch"), scratch_quota_bytes=7 * GIB)
    wanted = host.wanted(freeze_ms, quota, share)
    assert (wanted.freeze_seconds, wanted.scratch_quota_bytes, wanted.scratch_share) == expected
    assert CaptureSettings(Path("/r"), Path("/s")).wanted(0, quota, 0).scratch_quota_bytes == (quota or None)
