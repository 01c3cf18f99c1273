"""What is in use of each limit now: the table of `limit list`. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from seawall.controller.admission.caps import BUILT_IN, EACH, Cap, reserved
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.scopes import GLOBAL, counted
from seawall.controller.records.limits import Breaker, Measure, Scope, ScopeKey, Traffic

ORDER = (Scope.GLOBAL, Scope.TENANT, Scope.SITE, Scope.HOST, Scope.STORAGE, Scope.REPOSITORY, Scope.LABEL)
REPORTED = (Scope.SITE, Scope.STORAGE, Scope.LABEL)
"""There while a host is, or reports a VM with it; a limit may be older, or mistyped."""
RATE_LIVES_US = 60_000_000
"""What a host moved longer ago says nothing of now: it is silent, or no bandwidth is limited any more."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One line. Caps None: not limited. `where.key` "" but for the whole: what holds for each of the scope; then nothing is in use.

    `unknown`: a storage on which no VM has a disk, a site of no host, a label of no VM: mistyped, or set before they come.
    """

    where: ScopeKey
    preparing: Cap | None
    transferring: Cap | None
    bandwidth: Cap | None
    weight: int
    kept: int
    preparing_now: int
    transferring_now: int
    rate_now: int
    breaker: Breaker | None
    unknown: bool = False


def table(facts: FleetFacts, traffic: Iterable[Traffic], *, every: bool, tenants: Iterable[str] = ()) -> list[Usage]:
    """What has a limit of its own, is in use or fails; `every`: all that there is as well, and `tenants`, whom no host reports."""
    rates, used, there = _rates(facts, traffic), counted(facts), _all(facts)
    shown = {GLOBAL, *(where for where, _ in used), *facts.breakers}
    shown |= {ScopeKey(scope, key) for scope, key, _ in facts.caps.limits}
    shown |= {ScopeKey(scope, EACH) for scope, _ in BUILT_IN}
    if every:
        shown |= there | {ScopeKey(Scope.TENANT, tenant) for tenant in tenants}
    return [_usage(facts, where, used, rates, there) for where in sorted(shown, key=place)]


def place(where: ScopeKey) -> tuple[int, str]:
    """Where it stands in the table."""
    return ORDER.index(where.scope), where.key


def one(facts: FleetFacts, traffic: Iterable[Traffic], where: ScopeKey) -> Usage:
    return _usage(facts, where, counted(facts), _rates(facts, traffic), _all(facts))


def _usage(
    facts: FleetFacts,
    where: ScopeKey,
    used: Mapping[tuple[ScopeKey, Measure], int],
    rates: Mapping[ScopeKey, int],
    there: Collection[ScopeKey],
) -> Usage:
    caps = facts.caps
    runs = caps.cap(where, Measure.TRANSFERRING)
    return Usage(
        where,
        caps.cap(where, Measure.PREPARING),
        runs,
        caps.cap(where, Measure.BANDWIDTH),
        caps.weight(where.key) if where.scope is Scope.TENANT else 0,
        0 if runs is None else reserved(where.scope, runs.value),
        used.get((where, Measure.PREPARING), 0),
        used.get((where, Measure.TRANSFERRING), 0),
        rates.get(where, 0),
        facts.breakers.get(where),
        where.scope in REPORTED and bool(where.key) and where not in there,
    )


def _all(facts: FleetFacts) -> set[ScopeKey]:
    found = {ScopeKey(Scope.HOST, host_id) for host_id in facts.hosts}
    found |= {ScopeKey(Scope.SITE, host.site) for host in facts.hosts.values() if host.site}
    found |= {ScopeKey(Scope.REPOSITORY, repository_id) for repository_id in facts.repositories}
    found |= {ScopeKey(Scope.STORAGE, storage) for storage in facts.storages}
    for vm in facts.vms.values():
        if vm.present:
            found |= {ScopeKey(Scope.LABEL, label) for label in vm.labels}
    return found


def _rates(facts: FleetFacts, traffic: Iterable[Traffic]) -> Counter[ScopeKey]:
    rates: Counter[ScopeKey] = Counter()
    for each in traffic:
        host = facts.hosts.get(each.host_id)
        if host is None or each.reported_us < facts.now_us - RATE_LIVES_US:
            continue
        rates[GLOBAL] += each.rate_bytes_per_second
        rates[ScopeKey(Scope.HOST, host.id)] += each.rate_bytes_per_second
        if host.site:
            rates[ScopeKey(Scope.SITE, host.site)] += each.rate_bytes_per_second
    return rates
