"""How one budget of bytes per second is shared among hosts: max-min, under the budgets of the whole, of sites and of hosts. Pure.

All hosts rise together until each has what it wants, or a budget above it is full. A site's budget bounds its hosts and gives them no
more than others. What nobody asked for is spread in the same way, so that whoever speeds up before the next look is not held back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNBOUNDED = 1 << 50
"""A demand or a budget without an end: more than any network."""
_NO_BUDGET = 1 << 62


@dataclass(frozen=True, slots=True)
class Leaf:
    """One host. `budget` None: only what stands above it counts."""

    key: str
    site: str
    demand: int
    budget: int | None = None

    @property
    def most(self) -> int:
        return UNBOUNDED if self.budget is None else min(self.budget, UNBOUNDED)


def shares(
    leaves: Sequence[Leaf], budget: int | None, site_budgets: Mapping[str, int], floor: int
) -> dict[str, int | None]:
    """Host -> its share, None where nothing limits it; at least `floor`, which no budget takes away.

    Sum of the shares <= budget + floors, for the whole and for each site. While hosts want more than there is, all of it is given, but for
    less than one byte a host.
    """
    total = _NO_BUDGET if budget is None else budget
    limits = {leaf.site: site_budgets.get(leaf.site, _NO_BUDGET) for leaf in leaves}
    sites = {site: [leaf for leaf in leaves if leaf.site == site] for site in limits}
    wanted = {site: [min(leaf.demand, leaf.most) for leaf in some] for site, some in sites.items()}
    given = _risen(total, limits, wanted)
    left = {site: limits[site] - sum(some) for site, some in given.items()}
    room = {
        site: [leaf.most - part for leaf, part in zip(some, given[site], strict=True)] for site, some in sites.items()
    }
    spare = _risen(total - sum(map(sum, given.values())), left, room)
    return {
        leaf.key: None if part + more >= UNBOUNDED else max(part + more, floor)
        for site, some in sites.items()
        for leaf, part, more in zip(some, given[site], spare[site], strict=True)
    }


def fill(budget: int, demands: Sequence[int]) -> list[int]:
    """Max-min for one level: none above its demand, together min(budget, sum of demands)."""
    given = [0] * len(demands)
    left = max(budget, 0)
    order = sorted(range(len(demands)), key=lambda index: (demands[index], index))
    for position, index in enumerate(order):
        given[index] = min(max(demands[index], 0), left // (len(order) - position))
        left -= given[index]
    return given


def _risen(budget: int, site_budgets: Mapping[str, int], amounts: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Each up to its amount, at the highest level that the budget bears."""

    def of_site(site: str, level: int) -> int:
        return min(site_budgets[site], sum(min(amount, level) for amount in amounts[site]))

    low, high = 0, UNBOUNDED
    while low < high:
        level = (low + high + 1) // 2
        if sum(of_site(site, level) for site in amounts) <= budget:
            low = level
        else:
            high = level - 1
    return {site: fill(of_site(site, low), [min(amount, low) for amount in amounts[site]]) for site in amounts}
