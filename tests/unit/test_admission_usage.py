"""What `limit list` and `host show` say that hosts move now."""

from seawall.controller.admission.scopes import GLOBAL
from seawall.controller.admission.usage import RATE_LIVES_US, one
from seawall.controller.records.limits import Scope, ScopeKey, Traffic
from support.admission_facts import fleet_facts
from support.controller_records import NOW, a_host

FACTS = fleet_facts([a_host(site="berlin"), a_host("beta", site="berlin")])


def rate(where: ScopeKey, reported_us: int) -> int:
    """Beta reported 5 bytes per second just now, alpha 100 then."""
    traffic = [Traffic("alpha", 900, 100, reported_us, 0, 0), Traffic("beta", 900, 5, NOW, 0, 0)]
    return one(FACTS, traffic, where).rate_now


def test_a_host_that_did_not_report_for_long_moves_nothing() -> None:
    for where in (GLOBAL, ScopeKey(Scope.SITE, "berlin")):
        assert rate(where, NOW - RATE_LIVES_US) == 105
        assert rate(where, NOW - RATE_LIVES_US - 1) == 5
    assert rate(ScopeKey(Scope.HOST, "alpha"), NOW - RATE_LIVES_US - 1) == 0
