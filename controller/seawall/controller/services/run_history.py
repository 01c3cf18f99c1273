"""The rates of a VM's earlier backups, remembered while a run of it is looked at."""

from seawall.controller.records.catalogue import Point
from seawall.controller.records.runs import Run, RunKind
from seawall.controller.runs.eta import HISTORY
from seawall.controller.store.transaction import Transaction

MOST_RUNS = 5_000


class RunHistory:
    """By run: while it lives the VM gets no other point, so nothing here grows old. Thread-safe."""

    def __init__(self) -> None:
        self._rates: dict[str, tuple[float, ...]] = {}

    def rates(self, transaction: Transaction, run: Run) -> tuple[float, ...]:
        """Bytes per second from the instant to the publication of each; restores have none."""
        if run.kind is not RunKind.BACKUP:
            return ()
        known = self._rates.get(run.id)
        if known is None:
            if len(self._rates) >= MOST_RUNS:
                self._rates.clear()
            points = transaction.points.points(vm_id=run.vm_id, limit=HISTORY)
            known = self._rates[run.id] = tuple(filter(None, map(_rate, points)))
        return known


def _rate(point: Point) -> float:
    """0.0: it says nothing, because it read nothing, or its moments are those of different clocks."""
    seconds = (point.published_us - point.instant_us) / 1_000_000
    read = sum(disk.read_bytes for disk in point.disks)
    return read / seconds if seconds > 0 else 0.0
