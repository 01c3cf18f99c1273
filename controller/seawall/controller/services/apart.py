"""Groups of VMs that are kept apart, as `limit apart` tells of them: who is in one, and what an operator may not have meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from seawall.api.v1 import limits_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.fleet import Vm
from seawall.controller.records.limits import Limit, Measure, Scope
from seawall.controller.store.transaction import Transaction
from seawall.controller.text import NAME_LENGTH, printable

MOST_VMS = 1000
"""In one request: it is one transaction."""


@dataclass(frozen=True, slots=True)
class Group:
    """`put`: names of those that were put into it. `tagged`: how many others carry its name as a tag, and so belong to it."""

    put: Sequence[str]
    tagged: int
    is_new: bool
    vm_so_named: str

    def message(self) -> limits_pb2.SetApartResponse:
        return limits_pb2.SetApartResponse(
            vms=sorted(self.put),
            tagged=self.tagged,
            is_new=self.is_new,
            vm_so_named=self.vm_so_named,
        )


def check_group(request: limits_pb2.SetApartRequest) -> None:
    """Raises InvalidArgument/BAD_LABEL, NO_VMS, TOO_MANY_VMS."""
    label = request.label
    if not label.strip() or printable(label) != label or len(label) > NAME_LENGTH:
        raise InvalidArgument("BAD_LABEL", f"A group's name is printable, {NAME_LENGTH} characters at most.")
    if not request.vms:
        raise InvalidArgument("NO_VMS", "Name at least one VM.")
    if len(request.vms) > MOST_VMS:
        raise InvalidArgument("TOO_MANY_VMS", f"At most {MOST_VMS} VMs at once; these are {len(request.vms)}.")


def set_group(transaction: Transaction, label: str, vms: Sequence[Vm], *, together: bool) -> None:
    """A group that has no limit gets one: one VM at once."""
    vm_ids = [vm.id for vm in vms]
    if together:
        return transaction.limits.keep_together(label, vm_ids)
    transaction.limits.keep_apart(label, vm_ids)
    if not _has_limit(transaction, label):
        transaction.limits.set_limit(Limit(Scope.LABEL, label, Measure.TRANSFERRING, 1))
    return None


def group_of(transaction: Transaction, label: str, come: Sequence[Vm] = (), go: Sequence[Vm] = ()) -> Group:
    """As it would be once these had come or gone; `is_new` says how it is now."""
    put = {vm_id for group, vm_id in transaction.limits.apart() if group == label}
    after = sorted((put | {vm.id for vm in come}) - {vm.id for vm in go})
    carriers = {vm_id for vm_id, _, _, tags in transaction.fleet.sightings() if label in tags}
    return Group(
        [vm.name for vm in transaction.fleet.vms_of(after)],
        len(carriers.difference(after)),
        not put and not _has_limit(transaction, label),
        next((vm.name for vm in transaction.fleet.vms_named(label)), ""),
    )


def _has_limit(transaction: Transaction, label: str) -> bool:
    return any(each[:2] == (Scope.LABEL, label) for each in transaction.limits.limits())
