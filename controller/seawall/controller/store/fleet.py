"""The store's port: hosts, their sessions, VMs, and VMs that moved."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from seawall.controller.records.fleet import Host, News, Session, Vm
from seawall.controller.records.limits import (
    Service,
)
from seawall.controller.records.moves import Claim, Move


class Fleet(Protocol):
    """Hosts, sessions, VMs."""

    def host(self, host_id: str) -> Host | None: ...

    def hosts(self, after: str = "", limit: int = 1000) -> Sequence[Host]:
        """By id."""

    def enrolled(self) -> frozenset[str]:
        """Ids of agents that were not revoked."""

    def host_names(self) -> dict[str, str]:
        """Id -> name, of all."""

    def hosts_named(self, text: str) -> Sequence[Host]:
        """Those whose id is, or begins with, or whose name is the text."""

    def describe_host(self, host_id: str, name: str, agent_version: str, hypervisor_version: str) -> None: ...

    def bump_generation(self, host_id: str) -> None:
        """The host's desired set changed."""

    def generations(self) -> dict[str, int]:
        """Host id -> how often its desired set changed."""

    def generations_of(self, host_ids: Sequence[str]) -> dict[str, int]:
        """The same, of these hosts."""

    def session(self, agent_id: str) -> Session | None: ...

    def sessions(self) -> Sequence[Session]: ...

    def sessions_of(self, agent_ids: Sequence[str]) -> Sequence[Session]:
        """In any order; of those that have one."""

    def open_session(self, session: Session) -> None:
        """Replaces the agent's older one."""

    def renew_sessions(self, known: Sequence[tuple[str, str]], lease_until_us: int, now_us: int) -> None:
        """Of (agent id, session id). Those of another session stay as they are."""

    def vm(self, vm_id: str) -> Vm | None: ...

    def vms(self, host_id: str = "", after: str = "", limit: int = 1000) -> Sequence[Vm]:
        """By id."""

    def sightings(self) -> Sequence[tuple[str, str, str, frozenset[str]]]:
        """(id, name, host id, tags) of each VM that a host reports: what selections look at, without the disks, which are most of a row."""

    def vms_named(self, text: str) -> Sequence[Vm]: ...

    def vm_counts(self) -> dict[str, int]:
        """Host id -> VMs present there."""

    def vm_count(self) -> int:
        """All VMs ever reported."""

    def vms_of(self, vm_ids: Sequence[str]) -> Sequence[Vm]:
        """In any order; those that there are."""

    def vm_changes(self, since: int) -> dict[str, int]:
        """Id -> what its host, name, state, disks, tags or presence last changed with: a number that grows; those from the given one on."""

    def set_service(self, host_id: str, service: Service) -> None: ...

    def set_site(self, host_id: str, site: str) -> None: ...

    def replace_inventory(self, host_id: str, revision: int, vms: Iterable[Vm]) -> News:
        """The whole set of a host: its VMs that are not named are no longer present. What that changed.

        Another host's VM is taken over when that host does not report it any more, or when it runs here and does not run there, or that
        host is offline.
        """


class Moves(Protocol):
    """VMs that change their hosts."""

    def owners_elsewhere(self, host_id: str, vm_ids: Sequence[str]) -> dict[str, str]:
        """Those that are another host's -> whose."""

    def of_vm(self, vm_id: str) -> Sequence[Move]:
        """Oldest first, the last 64."""

    def departures(self, host_id: str) -> Sequence[Move]:
        """What left this host, and nobody took."""

    def save(self, move: Move) -> None:
        """In place of what it was before."""

    def drop(self, move_id: str) -> None: ...

    def claims(self, vm_id: str) -> Sequence[Claim]:
        """By host; of each the last."""

    def claim(self, claim: Claim) -> None:
        """In place of the host's older one."""

    def drop_claim(self, vm_id: str, host_id: str) -> None: ...
