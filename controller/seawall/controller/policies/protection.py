"""Which VMs which policies protect now, by the inventories of this moment: a new VM is in at its first report. Reads in one transaction."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.selection import Seen, seen
from seawall.controller.records.fleet import Vm, VmDisk
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.records.settings import NO_SETTINGS, VmSettings
from seawall.controller.settings.resolve import excluded_disks
from seawall.controller.store.transaction import Transaction

PAGE = 1000
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Fleet:
    """VMs that a host reports and that nobody told us to ignore, with what selections look at."""

    vms: dict[str, Vm]
    seen: Sequence[Seen]

    def of(self, rules: CompiledSpec) -> list[Vm]:
        """Those that a policy protects, by id."""
        return [self.vms[each.vm_id] for each in rules.selected(self.seen)]


@dataclass(frozen=True, slots=True)
class Protection:
    """`policies`: names of those that back the VM up. `in_vain`: why others, that select it, have nothing of it to back up; a sentence, ""
    where nothing is to be said: one that backs it up is enough.
    """

    policies: tuple[str, ...] = ()
    in_vain: str = ""


UNPROTECTED = Protection()


def captured(vm: Vm, settings: VmSettings, spec: PolicySpec) -> list[VmDisk]:
    """What a policy's backup of the VM holds; nothing: none is made."""
    return vm.disks_without(excluded_disks(settings.capture, spec.capture))


def fleet_of(transaction: Transaction) -> Fleet:
    hosts = transaction.fleet.host_names()
    ignored = transaction.settings.ignored()
    vms = {vm.id: vm for vm in _every(transaction) if _may_be_protected(vm, ignored)}
    return Fleet(vms, [seen(vm, hosts) for vm in vms.values()])


def seen_of(transaction: Transaction) -> list[Seen]:
    """What selections look at of the same VMs, and nothing else: of 20,000 in a tenth of the time."""
    hosts, ignored = transaction.fleet.host_names(), transaction.settings.ignored()
    return [
        Seen(vm_id, name, host_id, hosts.get(host_id, ""), tags)
        for vm_id, name, host_id, tags in transaction.fleet.sightings()
        if vm_id not in ignored
    ]


def protections(transaction: Transaction, vms: Sequence[Vm]) -> dict[str, Protection]:
    """Of VMs that a policy selects, by id."""
    settings = transaction.settings.of_vms([vm.id for vm in vms])
    selected = policies_of(transaction, vms)
    return {
        vm.id: _protection(vm, settings.get(vm.id, NO_SETTINGS), selected[vm.id]) for vm in vms if vm.id in selected
    }


def _protection(vm: Vm, settings: VmSettings, selecting: Sequence[Policy]) -> Protection:
    backing_up = tuple(each.name for each in selecting if captured(vm, settings, each.spec))
    if backing_up:
        return Protection(backing_up)
    names = ", ".join(each.name for each in selecting)
    return Protection((), f"Selected by policy {names}, but {_why_nothing(vm, settings)}.")


def _why_nothing(vm: Vm, settings: VmSettings) -> str:
    if not vm.disks_without(()):
        return "none of its disks can be backed up" if vm.disks else "it has no disk"
    by = "`seawall vm protect`" if settings.capture.exclude_disks is not None else "that"
    return f"{by} leaves out all of its disks"


def idle_doubts(transaction: Transaction, rules: CompiledSpec, selected: Sequence[Vm]) -> Iterator[str]:
    """Sentences: VMs that a policy selects, and of which it would back up nothing."""
    settings = transaction.settings.of_vms([vm.id for vm in selected])
    idle = sorted(vm.name for vm in selected if not captured(vm, settings.get(vm.id, NO_SETTINGS), rules.spec))
    if idle:
        more = f" and {len(idle) - MOST_NAMED} more" if len(idle) > MOST_NAMED else ""
        yield (
            f"Nothing is backed up of {', '.join(idle[:MOST_NAMED])}{more}: they have no disk that can be, or all of theirs are left out. "
            "They count as unprotected."
        )


def policies_of(transaction: Transaction, vms: Sequence[Vm]) -> dict[str, tuple[Policy, ...]]:
    """VM id -> the policies that select it, by name, whether they back up anything of it or not; VMs that none selects are not in it."""
    selecting, ignored = _selecting(transaction), transaction.settings.ignored()
    return {vm.id: found for vm in vms if _may_be_protected(vm, ignored) and (found := selecting(vm))}


def _selecting(transaction: Transaction) -> Callable[[Vm], tuple[Policy, ...]]:
    """The policies that select a VM, by name."""
    hosts = transaction.fleet.host_names()
    rules = [(each, CompiledSpec(each.spec)) for each in transaction.policies.policies() if each.active]

    def found(vm: Vm) -> tuple[Policy, ...]:
        looked_at = seen(vm, hosts)
        return tuple(policy for policy, rule in rules if rule.selects(looked_at))

    return found


def _may_be_protected(vm: Vm, ignored: Collection[str]) -> bool:
    return vm.present and vm.id not in ignored


def _every(transaction: Transaction) -> Iterator[Vm]:
    after = ""
    while page := transaction.fleet.vms(after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def all_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id."""
    return transaction.fleet.vms(host_id, after, limit)


def unprotected_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id that a host reports, of which no policy backs up anything, and that nobody said to ignore."""
    found: list[Vm] = []
    while len(found) < limit and (page := transaction.fleet.vms(host_id, after, PAGE)):
        found += unprotected(transaction, page)
        after = page[-1].id
    return found[:limit]


def unprotected(transaction: Transaction, vms: Sequence[Vm]) -> list[Vm]:
    """Of these, in their order."""
    ignored = transaction.settings.ignored()
    there = [vm for vm in vms if _may_be_protected(vm, ignored)]
    by_id = protections(transaction, there)
    return [vm for vm in there if not by_id.get(vm.id, UNPROTECTED).policies]
