"""Which VMs a policy protects. Pure: a selection and a VM in, yes or no out. Compiled once, asked for each VM."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from seawall.controller.policies.pattern import Pattern
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import Selection, Terms


@dataclass(frozen=True, slots=True)
class Seen:
    """What a selection looks at of a VM. `host`: its host's name."""

    vm_id: str
    name: str
    host_id: str
    host: str
    tags: frozenset[str]


def seen(vm: Vm, host_names: Mapping[str, str]) -> Seen:
    return Seen(vm.id, vm.name, vm.host_id, host_names.get(vm.host_id, ""), frozenset(vm.tags))


def selector(selection: Selection) -> Callable[[Seen], bool]:
    """Raises BadPattern."""
    wanted = (lambda _: True) if selection.everything else _fits(selection.terms)
    unwanted = _fits(selection.but)
    return lambda vm: wanted(vm) and not unwanted(vm)


def unmatched(terms: Terms, vms: Sequence[Seen]) -> list[str]:
    """Names, hosts and tags that no VM has: typing errors, or VMs to come."""
    names = {each for vm in vms for each in (vm.vm_id, vm.name)}
    hosts = {each for vm in vms for each in (vm.host_id, vm.host)}
    tags = {tag for vm in vms for tag in vm.tags}
    return [
        *(f"VM {name}" for name in terms.names if name not in names),
        *(f"host {host}" for host in terms.hosts if host not in hosts),
        *(f"tag {tag}" for tag in terms.tags if tag not in tags),
    ]


def _fits(terms: Terms) -> Callable[[Seen], bool]:
    names, hosts, tags = frozenset(terms.names), frozenset(terms.hosts), frozenset(terms.tags)
    pattern = Pattern(terms.pattern) if terms.pattern else None

    def fits(vm: Seen) -> bool:
        return (
            vm.name in names
            or vm.vm_id in names
            or vm.host in hosts
            or vm.host_id in hosts
            or not tags.isdisjoint(vm.tags)
            or (pattern is not None and pattern.matches(vm.name))
        )

    return fits
