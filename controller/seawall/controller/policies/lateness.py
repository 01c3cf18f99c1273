"""Whether a VM is late for its policy: one rule for what `policy list` counts and what hooks are told."""

from collections.abc import Collection, Mapping

from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US


def is_late(newest_us: int, asked_us: int, rpo_seconds: int, now_us: int) -> bool:
    """`newest_us`: the instant of its newest point, 0 for none. `asked_us`: since when one is asked of it: nobody is late for what was
    asked of him a moment ago.
    """
    return now_us - max(newest_us, asked_us) > rpo_seconds * SECOND_US


def asked_since_us(
    transaction: Transaction, policy_id: str, newest_us: Mapping[str, int], vm_ids: Collection[str]
) -> dict[str, int]:
    """Since when the policy asks for points of each VM: of one that has a point always, of one without any since it first was due. Of
    whoever is missing none was asked yet. `newest_us`: as `policies.newest_us` of the policy.
    """
    first = transaction.hooks.first_due_us(policy_id, [vm_id for vm_id in vm_ids if vm_id not in newest_us])
    return dict.fromkeys(newest_us, 0) | first
