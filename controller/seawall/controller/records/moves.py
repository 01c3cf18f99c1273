"""VMs that change their hosts: what the hosts said of it, and operators. Times are microseconds since 1970 UTC; 0 means never."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """A VM's way from one host to another. `to_host` "": it left, and nobody has reported it since.

    `left_us`: the host that it left says so: by migration, seen by itself. `taken_us`: another host reported it. `rival`: a third host, or
    the old one, said at about that time that it runs it.
    `confirmed_us`: an operator says that the VM belongs to `to_host`, wherever it was before (`from_host` is "").
    """

    id: str
    vm_id: str
    from_host: str
    to_host: str = ""
    left_us: int = 0
    taken_us: int = 0
    rival: str = ""
    confirmed_us: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A host said last at `seen_us` that it runs a VM which was another one's."""

    vm_id: str
    host_id: str
    seen_us: int
