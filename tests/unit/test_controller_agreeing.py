"""Whether a renewal that was seen come says what time it is, however long leases are."""

from dataclasses import replace

import pytest

from seawall.controller.records.leadership import LeaseRow
from seawall.controller.scheduler.agreeing import apart_us, renewed
from seawall.controller.timings import Timings

BEFORE = LeaseRow(holder="a", epoch=1, expires_us=1_000_000, operator_address="", agent_address="")


@pytest.mark.parametrize("lease_seconds", [1.0, 15.0, 75.0, 90.0, 600.0])
def test_one_renewal_between_two_looks_counts(lease_seconds: float) -> None:
    """Looks are a fifteenth of the lease apart: with 75 s as far as what the shortest leases allow."""
    look = Timings(leader_lease_seconds=lease_seconds).leader_look_seconds
    after = replace(BEFORE, expires_us=2_000_000)
    assert renewed(BEFORE, after, look * 1.2, apart_us(look))
    assert not renewed(BEFORE, after, max(5.0, 2 * look) + 0.1, apart_us(look)), "nobody looked for long"
