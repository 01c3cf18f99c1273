"""What `make bench-guest` takes for a freeze: one that was measured to its end."""

import pytest
from deploy.lab.waiting import LabFailed

from benchmarks.guest.freezes import whole

ENDED: dict[str, float] = {"frozen": True, "frozen_ms": 80}


def test_every_freeze_counts_with_its_time() -> None:
    assert whole([ENDED, ENDED], 2) == [ENDED, ENDED]


@pytest.mark.parametrize("other", [[], [{"frozen": True, "frozen_ms": 0}], [{"frozen": False, "frozen_ms": 0}]])
def test_one_that_never_ended_is_no_short_one(other: list[dict[str, float]]) -> None:
    with pytest.raises(LabFailed, match="1 of 2 freezes"):
        whole([ENDED, *other], 2)
