"""What admission keeps: limits, circuit breakers, groups of VMs that stay apart, bandwidth shares. Times: microseconds since 1970 UTC."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    """What a limit belongs to."""

    GLOBAL = "GLOBAL"
    TENANT = "TENANT"
    SITE = "SITE"
    HOST = "HOST"
    STORAGE = "STORAGE"
    REPOSITORY = "REPOSITORY"
    LABEL = "LABEL"
    VM = "VM"
    """Runs of one VM on one host never overlap: the one limit that nobody sets."""


class Measure(StrEnum):
    """What is limited."""

    PREPARING = "PREPARING"
    """Backups that are assigned or take their snapshot."""
    TRANSFERRING = "TRANSFERRING"
    """Runs altogether: each that prepares will transfer, and a snapshot must not wait for its turn."""
    BANDWIDTH = "BANDWIDTH"
    """Bytes per second between hosts and stores."""
    WEIGHT = "WEIGHT"
    """A tenant's part where tenants compete: 2 gets twice as much as 1."""


class ScopeKey(NamedTuple):
    """One thing that is limited: a host's id, a repository's id, a site's name. "" with GLOBAL; in a limit also: each one of the scope."""

    scope: Scope
    key: str


class Limit(NamedTuple):
    """A value that an operator set."""

    scope: Scope
    key: str
    measure: Measure
    value: int


class Service(IntEnum):
    """Whether a host takes work. Stored as its number."""

    IN_SERVICE = 0
    CORDONED = 1
    """Nothing new starts."""
    DRAINING = 2
    """Nothing new starts, and the operator waits for what runs."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """Failures in a row of a host or a repository. `failures` 0: as if it did not exist."""

    scope: Scope
    key: str
    failures: int
    last_us: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """A host's last report and its share. `demand`: bytes per second that it would use; `share` 0: none was made."""

    host_id: str
    demand_bytes_per_second: int
    rate_bytes_per_second: int
    reported_us: int
    share_bytes_per_second: int
    share_us: int


class Apart(NamedTuple):
    """A VM of an anti-affinity group."""

    label: str
    vm_id: str
