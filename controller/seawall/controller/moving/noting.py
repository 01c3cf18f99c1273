"""What a host's inventory tells of VMs that change hosts, noted down in the same transaction. No wire types here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from seawall.controller.moving.belief import Terms, contradicted, is_news, speaks_of
from seawall.controller.records.fleet import Vm
from seawall.controller.records.moves import Claim, Move
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock

OFF = ("shut off", "saved")
CLAIM_MEMORY_US = 3_600_000_000
"""A host that said so long before a move that it runs the VM speaks against another one's arrival."""


@dataclass(frozen=True, slots=True)
class MoveNotes:
    """`clock`: steady, as both ends of a way are told by it."""

    clock: Clock
    terms: Terms

    def foreign(self, transaction: Transaction, host_id: str, reported: Collection[Vm]) -> dict[str, str]:
        """Asked before the inventory is stored: which of its VMs are another host's -> whose."""
        return transaction.moves.owners_elsewhere(host_id, [vm.id for vm in reported])

    def note(
        self,
        transaction: Transaction,
        host_id: str,
        reported: Collection[Vm],
        foreign: Mapping[str, str],
        taken: Collection[str],
        left_us: Mapping[str, int],
    ) -> None:
        """Once it is stored. `taken`: VMs that are this host's now. `left_us`: VMs that left it by migration, and when."""
        now_us = self.clock.now_us()
        runs = {vm.id for vm in reported if vm.state not in OFF}
        for vm_id in taken:
            self._taken(transaction, vm_id, foreign.get(vm_id, ""), host_id, now_us)
        for vm_id in sorted((foreign.keys() & runs) - set(taken)):
            self._claimed(transaction, Claim(vm_id, host_id, now_us))
        for move in transaction.moves.departures(host_id):
            if move.vm_id in runs:  # it did not leave, or came back: what is said of that departure is over
                transaction.moves.save(replace(move, to_host=host_id, taken_us=now_us))
        for vm_id, at_us in left_us.items():
            if vm_id not in runs:
                self._left(transaction, vm_id, host_id, min(at_us, now_us))

    def _taken(self, transaction: Transaction, vm_id: str, from_host: str, to_host: str, now_us: int) -> None:
        """`from_host` said before that it left, or has not said so yet."""
        transaction.moves.drop_claim(vm_id, to_host)  # what it said of a VM on its way here is true now
        rival = next((claim.host_id for claim in self._claims(transaction, vm_id, now_us)), "")
        left = [one for one in transaction.moves.of_vm(vm_id) if one.from_host == from_host and not one.to_host]
        if left:
            return transaction.moves.save(replace(left[-1], to_host=to_host, taken_us=now_us, rival=rival))
        transaction.moves.save(Move(uuid7(self.clock), vm_id, from_host, to_host, taken_us=now_us, rival=rival))

    def _claims(self, transaction: Transaction, vm_id: str, now_us: int) -> list[Claim]:
        return [one for one in transaction.moves.claims(vm_id) if one.seen_us >= now_us - CLAIM_MEMORY_US]

    def _claimed(self, transaction: Transaction, claim: Claim) -> None:
        """In vain: the VM is another host's."""
        transaction.moves.claim(claim)
        for move in transaction.moves.of_vm(claim.vm_id):
            if not move.rival and contradicted(move, claim.host_id, claim.seen_us, self.terms):
                transaction.moves.save(replace(move, rival=claim.host_id))

    def _left(self, transaction: Transaction, vm_id: str, host_id: str, left_us: int) -> None:
        """Told with each inventory for a while: noted once."""
        vm, moves = transaction.fleet.vm(vm_id), transaction.moves.of_vm(vm_id)
        if vm is None or not is_news(moves, host_id, left_us):
            return
        told_late = [move for move in moves if speaks_of(move, host_id, left_us, self.terms)]
        if told_late:
            transaction.moves.save(replace(told_late[-1], left_us=left_us))
        elif vm.host_id == host_id:
            transaction.moves.save(Move(uuid7(self.clock), vm_id, host_id, left_us=left_us))
