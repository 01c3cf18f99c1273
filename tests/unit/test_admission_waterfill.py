"""How a bandwidth budget is shared among hosts, and a host's share among its workers."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.agent.limits.division import LEAST_PART, Share, Sharer, divide
from seawall.agent.limits.traffic import UNBOUNDED as HUNGRY
from seawall.agent.limits.traffic import Traffic, total
from seawall.controller.admission.waterfill import UNBOUNDED, Leaf, fill, shares

FLOOR = 100
SITES = ("north", "south", "")
RATES = st.one_of(st.integers(0, 1000), st.just(UNBOUNDED))
LEAVES = st.lists(
    st.tuples(st.sampled_from(SITES), RATES, st.none() | st.integers(FLOOR, 1000)), min_size=1, max_size=12
).map(lambda found: [Leaf(str(number), *parts) for number, parts in enumerate(found)])
BUDGETS = st.dictionaries(st.sampled_from(SITES[:2]), st.integers(FLOOR, 2000))


@given(LEAVES, st.integers(FLOOR, 5000), BUDGETS)
def test_all_together_keep_to_the_budgets_but_for_the_floors(
    leaves: list[Leaf], budget: int, sites: dict[str, int]
) -> None:
    found = shares(leaves, budget, sites, FLOOR)
    parts = {key: share for key, share in found.items() if share is not None}
    assert len(parts) == len(leaves)
    assert sum(parts.values()) <= budget + FLOOR * len(leaves)
    for site, limit in sites.items():
        members = [leaf for leaf in leaves if leaf.site == site]
        assert sum(parts[leaf.key] for leaf in members) <= limit + FLOOR * len(members)
    assert all(parts[leaf.key] <= max(leaf.most, FLOOR) for leaf in leaves)


@given(LEAVES, st.integers(FLOOR, 5000), BUDGETS)
def test_nothing_is_left_over_while_somebody_could_use_it(
    leaves: list[Leaf], budget: int, sites: dict[str, int]
) -> None:
    """Whoever got less than it may have stands under a budget that is given away, but for less than a byte a host."""
    found = shares(leaves, budget, sites, 0)
    given_away = sum(share or 0 for share in found.values())
    for leaf in leaves:
        if (found[leaf.key] or 0) >= leaf.most:
            continue
        of_site = sum(found[each.key] or 0 for each in leaves if each.site == leaf.site)
        full = given_away > budget - 2 * len(leaves)
        assert full or (leaf.site in sites and of_site > sites[leaf.site] - 2 * len(leaves))


@given(LEAVES, st.integers(FLOOR, 5000))
def test_who_wants_more_than_it_gets_gets_no_less_than_others(leaves: list[Leaf], budget: int) -> None:
    found = shares(leaves, budget, {}, 0)
    for poor in leaves:
        if (found[poor.key] or 0) < min(poor.demand, poor.most):
            assert all((found[rich.key] or 0) <= (found[poor.key] or 0) + len(leaves) for rich in leaves)


def test_a_site_bounds_its_hosts_and_gives_them_no_more_than_others() -> None:
    leaves = [Leaf("a", "north", UNBOUNDED), *(Leaf(f"b{n}", "south", UNBOUNDED) for n in range(3))]
    assert shares(leaves, 400, {}, 1) == {"a": 100, "b0": 100, "b1": 100, "b2": 100}
    assert shares(leaves, 400, {"south": 150}, 1) == {"a": 250, "b0": 50, "b1": 50, "b2": 50}


def test_without_a_budget_above_it_nothing_limits_a_host() -> None:
    leaves = [Leaf("a", "north", 10), Leaf("b", "", 10), Leaf("c", "", 10, 500)]
    assert shares(leaves, None, {"north": 300}, 1) == {"a": 300, "b": None, "c": 500}


def test_little_demands_are_met_and_the_rest_is_shared() -> None:
    assert fill(100, [10, UNBOUNDED, 25, UNBOUNDED]) == [10, 32, 25, 33]


@given(
    st.dictionaries(st.integers(0, 9).map(str), st.tuples(st.booleans(), st.integers(0, 10**8), st.booleans())),
    st.integers(10**6, 10**9),
)
def test_workers_share_what_the_host_has(workers: dict[str, tuple[bool, int, bool]], limit: int) -> None:
    sharing = {key: Sharer(restore, Traffic(rate, held)) for key, (restore, rate, held) in workers.items()}
    parts = divide(limit, sharing)
    assert sum(parts.values()) <= limit + LEAST_PART * len(parts)
    assert not parts or sum(parts.values()) >= limit - 2 * len(parts)
    assert set(divide(0, sharing).values()) <= {0}


def test_restores_are_served_first() -> None:
    hungry = Traffic(0, held_back=True)
    parts = divide(10_000_000, {"restore": Sharer(True, hungry), "backup": Sharer(False, hungry)})
    assert parts == {"restore": 10_000_000, "backup": LEAST_PART}


def test_a_share_ends_without_contact_and_no_share_stays_none() -> None:
    share = Share(1000, 100, until=50.0)
    assert (share.limit(49.9), share.limit(50.0)) == (1000, 100)
    assert Share().limit(1e9) == 0


def test_one_worker_that_is_held_back_makes_its_host_hungry() -> None:
    assert total([Traffic(5_000_000), Traffic(1, held_back=True)]) == (HUNGRY, 5_000_001)
    assert total([Traffic(8_000_000), Traffic()]) == (10_000_000 + 2**20, 8_000_000)
