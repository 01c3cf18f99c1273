"""The store's port: limits, groups, circuit breakers and traffic."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from seawall.controller.records.limits import (
    Apart,
    Breaker,
    Limit,
    Measure,
    Scope,
    ScopeKey,
    Traffic,
)


class Limits(Protocol):
    """What admission keeps."""

    def limits(self) -> Sequence[Limit]: ...

    def set_limit(self, limit: Limit) -> None:
        """Replaces the one of the same scope, key and measure."""

    def unset_limit(self, scope: Scope, key: str, measure: Measure) -> bool:
        """False: there was none."""

    def breakers(self) -> Sequence[Breaker]:
        """Those with failures."""

    def breaker(self, where: ScopeKey) -> Breaker | None: ...

    def save_breaker(self, breaker: Breaker) -> None: ...

    def apart(self) -> Sequence[Apart]:
        """By label and VM."""

    def keep_apart(self, label: str, vm_ids: Sequence[str]) -> None:
        """These VMs are of the group now. Repeatable."""

    def keep_together(self, label: str, vm_ids: Sequence[str]) -> None:
        """These VMs are of the group no more. Repeatable."""

    def traffic(self) -> Sequence[Traffic]: ...

    def traffic_of(self, host_id: str) -> Traffic | None: ...

    def report_traffic(self, host_id: str, demand: int, rate: int, now_us: int) -> None:
        """Bytes per second; the share stays."""

    def save_shares(self, shares: Mapping[str, int], now_us: int) -> None:
        """Host id -> bytes per second, of hosts that reported."""
