"""The fleet at one moment, as placement sees it: small frozen values, none of them tied to a database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from seawall.controller.admission.caps import Caps
from seawall.controller.records.fleet import Host, Session
from seawall.controller.records.limits import Breaker, ScopeKey

DAY_US = 24 * 3600 * 1_000_000

NewestUs = Mapping[str, Mapping[str, int]]
"""Policy id, "" for what somebody ordered -> VM id -> the instant of its newest point of that policy. Whoever is missing has none."""


@dataclass(frozen=True, slots=True)
class VmFacts:
    """A VM as it was last reported. What is known of its points is the fleet's (`FleetFacts.newest_us`)."""

    id: str
    host_id: str
    present: bool
    storages: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Occupied:
    """A live attempt, a LOST one too, as its worker may still read. `preparing`: its snapshot is not taken yet."""

    attempt_id: str
    run_id: str
    vm_id: str
    vm_name: str
    host_id: str
    tenant: str
    repository_id: str
    restore: bool
    preparing: bool
    created_us: int


@dataclass(frozen=True)
class FleetFacts:
    """`vms`: those of the READY runs and of the live attempts at least. `breakers`: those with failures."""

    now_us: int
    hosts: Mapping[str, Host]
    sessions: Mapping[str, Session]
    vms: Mapping[str, VmFacts]
    live: Sequence[Occupied] = ()
    caps: Caps = field(default_factory=Caps)
    breakers: Mapping[ScopeKey, Breaker] = field(default_factory=dict)
    objectives_us: Mapping[str, int] = field(default_factory=dict)
    """Policy id -> how old a VM's newest point may get, its RPO; a day where none is said."""
    repositories: Mapping[str, str] = field(default_factory=dict)
    """Repository id -> name."""
    newest_us: NewestUs = field(default_factory=dict)
    publishing: frozenset[tuple[str, str]] = frozenset()
    """(VM id, repository id) of backups that their hosts handed over: they hold no place, but the VM's next one waits for their point."""

    @cached_property
    def held_by_tenant(self) -> Mapping[str, int]:
        """Live backups of each tenant: what it already has of its part."""
        return Counter(each.tenant for each in self.live if not each.restore)

    @cached_property
    def restored_by_tenant(self) -> Mapping[str, int]:
        """Live restores of each tenant."""
        return Counter(each.tenant for each in self.live if each.restore)

    @cached_property
    def storages(self) -> frozenset[str]:
        """Keys of all on which a VM that is there has a disk."""
        return frozenset(key for vm in self.vms.values() if vm.present for key in vm.storages)
