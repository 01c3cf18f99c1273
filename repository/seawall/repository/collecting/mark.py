"""Marks what the roots need in one range of packs, and what arrives while that goes on."""

from collections.abc import Iterable

from seawall.repository.batches import in_batches
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.hands import each
from seawall.repository.collecting.live import LiveSlots
from seawall.repository.collecting.port import Ledger, PackStanding, PointRoot
from seawall.repository.collecting.refmaps import refmap_of
from seawall.repository.errors import RefmapInvalid
from seawall.repository.format.refmap import Refmap
from seawall.repository.repository import OpenRepository


class Marker:
    """One range. `seen`: every point validated up to this number is marked."""

    def __init__(
        self, repository: OpenRepository, ledger: Ledger, live: LiveSlots, after: bytes, seen: int, hands: int = 1
    ) -> None:
        self._repository = repository
        self._ledger = ledger
        self._live = live
        self._after = after
        self._hands = hands
        self.seen = seen
        self.points = 0

    def mark(self, roots: Iterable[PointRoot]) -> None:
        """Raises CollectionStopped/REFMAP_UNREADABLE, PACK_UNKNOWN; StoreUnavailable."""
        for some in in_batches(roots, self._hands):
            self._ledger.may_continue()
            refmaps = each(self._hands, lambda root: refmap_of(self._repository, self._ledger, root), some)
            for root, refmap in zip(some, refmaps, strict=True):
                if refmap is not None:
                    self._add(root, refmap)

    def _add(self, root: PointRoot, refmap: Refmap) -> None:
        try:
            unknown = self._live.add(refmap.slots(), self._after)
        except RefmapInvalid as error:
            raise CollectionStopped("REFMAP_UNREADABLE", f"The refmap of point {root.point_id} {error}.") from error
        self._check_unknown(root, unknown)
        self.points += 1

    def _check_unknown(self, root: PointRoot, pack_ids: tuple[bytes, ...]) -> None:
        """A pack that was stored after the range was read is no candidate. One that nobody knows, or that is gone, is an alarm."""
        known = self._ledger.facts(pack_ids) if pack_ids else {}
        for pack_id in pack_ids:
            if pack_id not in known or known[pack_id].standing is not PackStanding.STORED:
                what = known[pack_id].standing.value if pack_id in known else "unknown"
                raise CollectionStopped(
                    "PACK_UNKNOWN",
                    f"Restore point {root.point_id} needs pack {pack_id.hex()}, which is {what} to the controller. Nothing was collected. "
                    "Check the repository: seawall repo check",
                )
