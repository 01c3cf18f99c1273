"""Deletes objects by exact name. What the store will not let go (Object Lock, a policy) is reported and tried again next time."""

from collections.abc import Iterable

from seawall.repository.collecting.plan import Report
from seawall.repository.errors import StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.store.port import Store


def remove(store: Store, name: str, report: Report) -> bool:
    """Whether it is gone; one that was not there is. Raises StoreUnavailable."""
    try:
        store.delete(name)
    except StoreRefused as error:
        report.keep_back(name, str(error))
        return False
    return True


def remove_generations(store: Store, tenant: str, pack_id: bytes, generations: Iterable[int], report: Report) -> bool:
    """Whether all of them are gone; each is tried."""
    gone = [remove(store, pack_name(tenant, pack_id, generation), report) for generation in generations]
    return all(gone)
