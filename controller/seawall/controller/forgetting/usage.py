"""Who uses a point now, or holds it, so that it cannot go: as a phrase for people."""

from collections.abc import Sequence

from seawall.controller.records.maintenance import PinKind
from seawall.controller.store.transaction import Transaction

SLICE = 500
_PHRASES = {PinKind.PARENT: "backup run", PinKind.RESTORE: "restore run", PinKind.JOB: "job"}


def pinned_by(transaction: Transaction, point_ids: Sequence[str]) -> dict[str, str]:
    """Point id -> "restore run 0192...", of those that are in use or held; in the order given."""
    holders = {
        point_id: f"a hold ({hold.reason})" for point_id, hold in transaction.policies.holds_of(point_ids).items()
    }
    for start in range(0, len(point_ids), SLICE):
        for pin in transaction.pins.pins_of(point_ids[start : start + SLICE]):
            holders.setdefault(pin.point_id, f"{_PHRASES[pin.kind]} {pin.holder}")
    return {point_id: holders[point_id] for point_id in point_ids if point_id in holders}
