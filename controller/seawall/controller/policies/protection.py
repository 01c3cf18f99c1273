"""Which VMs which policies protect now, by the inventories of this moment: a new VM is in at its first report. Reads in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.selection import Seen, seen
from seawall.controller.records.fleet import Vm
from seawall.controller.store import Transaction

PAGE = 1000
BACKED_UP_DEVICES = ("", "disk", "lun")


@dataclass(frozen=True, slots=True)
class Fleet:
    """VMs that a host reports and that nobody told us to ignore, with what selections look at."""

    vms: dict[str, Vm]
    seen: Sequence[Seen]

    def of(self, rules: CompiledSpec) -> list[Vm]:
        """Those that a policy protects, by id."""
        return [self.vms[each.vm_id] for each in rules.selected(self.seen)]


def fleet_of(transaction: Transaction) -> Fleet:
    hosts = {host.id: host.name for host in transaction.fleet.hosts(limit=100_000)}
    ignored = transaction.settings.ignored()
    vms = {vm.id: vm for vm in _every(transaction) if vm.present and vm.id not in ignored}
    return Fleet(vms, [seen(vm, hosts) for vm in vms.values()])


def protectors(transaction: Transaction, vms: Sequence[Vm]) -> dict[str, tuple[str, ...]]:
    """VM id -> names of the policies that protect it, by name; VMs that none protects are not in it."""
    hosts = {host.id: host.name for host in transaction.fleet.hosts(limit=100_000)}
    ignored = transaction.settings.ignored()
    rules = [CompiledSpec(policy.spec) for policy in transaction.policies.policies() if policy.active]
    found: dict[str, tuple[str, ...]] = {}
    for vm in vms:
        looked_at = seen(vm, hosts)
        names = tuple(each.spec.name for each in rules if each.selects(looked_at))
        if names and vm.present and vm.id not in ignored:
            found[vm.id] = names
    return found


def has_disks(vm: Vm, excluded: Sequence[str]) -> bool:
    """Whether anything is left to back up."""
    return any(disk.device in BACKED_UP_DEVICES and disk.disk not in excluded for disk in vm.disks)


def _every(transaction: Transaction) -> Iterator[Vm]:
    after = ""
    while page := transaction.fleet.vms(after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def all_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id."""
    return transaction.fleet.vms(host_id, after, limit)


def unprotected_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id that a host reports, that no policy selects, and that nobody said to ignore."""
    ignored = transaction.settings.ignored()
    found: list[Vm] = []
    while len(found) < limit and (page := transaction.fleet.vms(host_id, after, PAGE)):
        protected = protectors(transaction, page)
        found += [vm for vm in page if vm.present and vm.id not in protected and vm.id not in ignored]
        after = page[-1].id
    return found[:limit]
