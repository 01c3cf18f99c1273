"""VMs that changed their hosts: whether their points go with them, and an operator's word that they do."""

from dataclasses import dataclass

from seawall.controller.errors import FailedPrecondition
from seawall.controller.moving.belief import Belief, Terms, belief
from seawall.controller.records.catalogue import Point
from seawall.controller.records.fleet import Host, Vm
from seawall.controller.records.moves import Move
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.services.naming import find_host, find_vm
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

CLAIMS_SHOWN_US = 86_400_000_000


def terms_of(timings: Timings) -> Terms:
    return Terms(microseconds(timings.move_window_seconds), microseconds(timings.move_settle_seconds))


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest point of a VM in one repository, as its present host may use it."""

    repository: str
    point: Point
    host: str  # name of the one that took it
    belief: Belief


@dataclass(frozen=True, slots=True)
class Moved:
    """`clock`: steady."""

    clock: Clock
    terms: Terms

    def standing(self, transaction: Transaction, point: Point, host_id: str) -> Belief:
        """Whether the host may go on from the point, which another one may have taken."""
        if point.host_id == host_id:
            return Belief()
        vm = transaction.fleet.vm(point.vm_id)
        if vm is None or vm.host_id != host_id or not vm.present:
            return Belief("it is no more where it was when this backup was ordered")
        moves = transaction.moves.of_vm(point.vm_id)
        return belief(moves, point.host_id, host_id, point.published_us, self.clock.now_us(), self.terms)

    def confirm(self, transaction: Transaction, vm_text: str, host_text: str) -> str:
        """The VM's id. Raises NotFound/VM_UNKNOWN, HOST_UNKNOWN; FailedPrecondition/VM_GONE, VM_ELSEWHERE."""
        vm = self.found(transaction, vm_text, host_text)
        now_us = self.clock.now_us()
        transaction.moves.save(Move(uuid7(self.clock), vm.id, "", vm.host_id, confirmed_us=now_us))
        return vm.id

    def found(self, transaction: Transaction, vm_text: str, host_text: str) -> Vm:
        """Raises as `confirm` does."""
        vm = find_vm(transaction, vm_text)
        there = transaction.fleet.host(vm.host_id)
        name = there.name if there else vm.host_id
        if not vm.present:
            raise FailedPrecondition(
                "VM_GONE",
                f"No host reports VM {vm.name} now; host {name} was the last. Start the agent where the VM is.",
            )
        wanted = find_host(transaction, host_text) if host_text else None
        if wanted is not None and wanted.id != vm.host_id:
            raise FailedPrecondition("VM_ELSEWHERE", _elsewhere(vm, name, wanted))
        return vm

    def standings(self, transaction: Transaction, vm: Vm) -> list[Standing]:
        """By repository; those in which the VM has a point."""
        found = []
        for repository in transaction.repositories.repositories():
            point = transaction.points.newest(vm.id, repository.id)
            if point is not None:
                host = transaction.fleet.host(point.host_id)
                name = host.name if host else point.host_id
                found.append(Standing(repository.name, point, name, self.standing(transaction, point, vm.host_id)))
        return found

    def claimed_by(self, transaction: Transaction, vm: Vm) -> list[str]:
        """Names of other hosts that said lately that they run it."""
        since_us = self.clock.now_us() - CLAIMS_SHOWN_US
        claims = [one.host_id for one in transaction.moves.claims(vm.id) if one.seen_us >= since_us]
        hosts = (transaction.fleet.host(host_id) for host_id in claims if host_id != vm.host_id)
        return [host.name for host in hosts if host is not None]


def _elsewhere(vm: Vm, name: str, wanted: Host) -> str:
    return (
        f"Host {name} reports VM {vm.name}, not {wanted.name}. See that {wanted.name} runs it and {name} does not; a host that must not be "
        f"believed is shut out by `seawall host revoke`."
    )
