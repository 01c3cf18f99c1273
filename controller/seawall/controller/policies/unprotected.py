"""How many VMs no policy backs up, for whoever asks again and again: kept in memory, as judging 20,000 VMs anew takes half a second.

A cache of the database, on every controller that is asked, and right at each look: VMs are judged again when what their host reports of
them or what operators said of them changed, all of them when a policy or a host's name did, and where the database is an older copy: VMs'
numbers are smaller, or somebody took the lead there. And every ten minutes all the same.
"""

import threading
from collections.abc import Hashable, Mapping

from seawall.controller.admission.mirror import OVERLAP_CHANGES, WHOLE_US
from seawall.controller.policies.protection import unprotected
from seawall.controller.store.transaction import Transaction
from seawall.repository.batches import in_batches


class UnprotectedVms:
    """Thread-safe: each look takes its turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._ids: set[str] = set()
        self._rules: Hashable = None
        self._said: Mapping[str, int] = {}
        self._changes: Mapping[str, int] = {}
        """Of the VMs that changed last; the others changed before."""
        self._change = 0
        self._whole_us = 0

    def count(self, transaction: Transaction, now_us: int) -> int:
        """As many as `unprotected_page` lists."""
        with self._lock:
            try:
                return self._counted(transaction, now_us)
            except BaseException:
                self._forget()  # half of a look is none
                raise

    def _counted(self, transaction: Transaction, now_us: int) -> int:
        rules, changes = _rules(transaction), self._changed(transaction)
        older = max(changes.values(), default=0) < self._change
        if rules != self._rules or older or not self._whole_us <= now_us <= self._whole_us + WHOLE_US:
            self._forget()
            self._rules, self._whole_us = rules, now_us
            changes = self._changed(transaction)
        said = transaction.settings.said_us()
        stale = {vm_id for vm_id, change in changes.items() if self._changes.get(vm_id) != change}
        stale |= {vm_id for vm_id, _ in self._said.items() ^ said.items()}
        for ids in in_batches(stale):
            self._ids.difference_update(ids)
            self._ids.update(vm.id for vm in unprotected(transaction, transaction.fleet.vms_of(ids)))
        self._changes, self._said = changes, said
        self._change = max(self._change, max(changes.values(), default=0))
        return len(self._ids)

    def _changed(self, transaction: Transaction) -> Mapping[str, int]:
        """VM id -> its number, of those that changed since the last look, or shortly before."""
        return transaction.fleet.vm_changes(max(self._change - OVERLAP_CHANGES, 0))


def _rules(transaction: Transaction) -> Hashable:
    """What all VMs are judged by; and who leads, as other changes may have the same numbers in an older copy of the database."""
    policies = tuple((policy.id, policy.revision, policy.changed_us) for policy in transaction.policies.policies())
    hosts = frozenset(transaction.fleet.host_names().items())
    lease = transaction.leadership.lease()
    return policies, hosts, transaction.leadership.db_epoch(), lease.epoch, lease.holder
