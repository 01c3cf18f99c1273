"""What may run at once: limits that were set, for one thing or for each of its kind, over the built-in ones. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from seawall.controller.records.limits import Limit, Measure, Scope, ScopeKey

EACH = ""
"""The key of a limit for each thing of its scope that has none of its own."""

BUILT_IN: Mapping[tuple[Scope, Measure], int] = {
    (Scope.GLOBAL, Measure.TRANSFERRING): 64,
    (Scope.HOST, Measure.TRANSFERRING): 3,
    (Scope.TENANT, Measure.WEIGHT): 1,
}
RESERVED_TENTHS = 1
"""Of the global limit, for restores; rounded up."""
RESERVED_SLOTS = 1
"""Of each host's limit, for restores."""


@dataclass(frozen=True, slots=True)
class Cap:
    """An effective limit. `source`: "set" for this thing, "each" for all of its kind, "built-in"."""

    value: int
    source: str


@dataclass(frozen=True)
class Caps:
    """All limits at one moment."""

    limits: Mapping[tuple[Scope, str, Measure], int] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> "Caps":
        return cls({(limit.scope, limit.key, limit.measure): limit.value for limit in limits})

    def cap(self, where: ScopeKey, measure: Measure) -> Cap | None:
        """None: not limited."""
        own = self.limits.get((where.scope, where.key, measure))
        if own is not None:
            return Cap(own, "set")
        each = self.limits.get((where.scope, EACH, measure))
        if each is not None:
            return Cap(each, "each")
        built_in = BUILT_IN.get((where.scope, measure))
        return None if built_in is None else Cap(built_in, "built-in")

    def bounds(self, scope: Scope, measure: Measure) -> bool:
        """Whether anything of the scope has a limit."""
        return (scope, measure) in self._bounded

    def value(self, where: ScopeKey, measure: Measure) -> int | None:
        cap = self.cap(where, measure)
        return None if cap is None else cap.value

    def weight(self, tenant: str) -> int:
        return self.value(ScopeKey(Scope.TENANT, tenant), Measure.WEIGHT) or 1

    @cached_property
    def _bounded(self) -> frozenset[tuple[Scope, Measure]]:
        return frozenset({*BUILT_IN, *((scope, measure) for scope, _, measure in self.limits)})

    @property
    def shapes_bandwidth(self) -> bool:
        """Whether any budget is set: without one no host reports what it would use."""
        return any(measure is Measure.BANDWIDTH for _, _, measure in self.limits)


def reserved(scope: Scope, cap: int) -> int:
    """How much of a limit on transfers is kept for restores: never all of it, so a limit of 1 keeps nothing."""
    if scope is Scope.HOST:
        return min(RESERVED_SLOTS, cap - 1)
    if scope is Scope.GLOBAL:
        return min(-(-cap * RESERVED_TENTHS // 10), cap - 1)
    return 0
