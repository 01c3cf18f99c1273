"""Collection as a piece of the worker's work."""

from collections.abc import Mapping
from typing import Any

from seawall.controller.maintenance.link import Link
from seawall.controller.maintenance.piped_ledger import PipedLedger
from seawall.repository.clock import Clock
from seawall.repository.collecting.collect import Collection
from seawall.repository.collecting.hands import MANY_HANDS
from seawall.repository.collecting.locking import Locks
from seawall.repository.collecting.plan import CollectSettings
from seawall.repository.repository import OpenRepository


def collect(
    repository: OpenRepository,
    link: Link,
    clock: Clock,
    request: Mapping[str, Any],
    settings: Mapping[str, Any],
    locks: Locks | None = None,
) -> Mapping[str, Any]:
    """`request`: {"plan_only": bool}. `settings`: {"grace_us": int}. Returns the report."""
    ledger = PipedLedger(link, clock)
    collection = Collection(
        repository, ledger, clock, CollectSettings(grace_us=settings["grace_us"]), hands=MANY_HANDS, locks=locks
    )
    report = collection.plan() if request.get("plan_only") else collection.execute()
    return report.as_json()
