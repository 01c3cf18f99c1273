"""The structure of a whole repository: every committed point has its manifest and refmap, every page and slot that it names is there.

Reads `m/`, `r/`, roots, nodes, leaves and the table of each pack; memory is one refmap, one node, one page, some tables, and a name a
point. Points may be deleted and packs compacted meanwhile: what is found is looked at again before it is said.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from seawall.repository.checking.finding import Findings, Reason, newer
from seawall.repository.checking.opened_point import PointObjects
from seawall.repository.checking.port import Ledger, PackFacts
from seawall.repository.checking.tables import Tables
from seawall.repository.checking.tree import SoundPages, TreeCheck, bad_slots, differs
from seawall.repository.errors import (
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RefmapInvalid,
    StoreRefused,
    WrongKey,
)
from seawall.repository.forgetting.standing import Standing
from seawall.repository.forgetting.tombstones import lying_tombstones
from seawall.repository.format.layout import (
    MANIFESTS_PREFIX,
    TOMBSTONES_PREFIX,
    PointName,
    manifest_name,
    parse_point_name,
    refmap_name,
    tombstone_name,
)
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root import Root
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository

_STRANGE = "the bucket holds this point, the controller's database does not know it"
_VOID = "void: a controller that had been replaced wrote this point, and nobody was told that it exists"
_VOID_TOMBSTONE = (
    "void: a controller that had been replaced wrote this tombstone; it hides nothing, and its point stands"
)
_DAMAGED = (IntegrityError, RefmapInvalid, WrongKey, StoreRefused)


class StructureCheck:
    """One thread's. `bad`: called with what a manifest names and its pack does not hold."""

    def __init__(
        self,
        repository: OpenRepository,
        ledger: Ledger,
        findings: Findings,
        *,
        unreadable: Callable[[PackFacts], None],
        bad: Callable[[bytes, SlotSet], None],
    ) -> None:
        self._repository = repository
        self._ledger = ledger
        self._findings = findings
        self._bad = bad
        self._tables = Tables(repository, ledger, unreadable)

    def run(self, standing: Standing) -> Iterator[int]:
        """Yields the number of points behind it after each. `standing`: what counts. Raises StoreUnavailable, BucketMissing."""
        points = sorted(one.name for one in self._ledger.points())
        self._strangers(points, standing)
        self._void_tombstones(points, standing)
        done = 0
        for _, of_vm in groupby(points, key=lambda point: (point.tenant, point.vm_id)):
            sound = SoundPages()
            for point in of_vm:
                self._look(point, sound)
                done += 1
                yield done

    def _look(self, point: PointName, sound: SoundPages) -> None:
        """A point that a newer Seawall wrote is reported and left as it is: any host may write one, and it must not hide the others."""
        try:
            whole = self.one(PointObjects(self._repository, point), sound)
        except FormatUnsupported as error:
            newer(self._findings, point, error)
            return
        if not whole:
            self._ledger.proved(point, False)  # whatever an earlier look said

    def _strangers(self, points: Sequence[PointName], standing: Standing) -> None:
        """Committed in the bucket, unknown to the catalogue; or void."""
        known = set(points)
        for info in self._repository.store.list(MANIFESTS_PREFIX):
            point = parse_point_name(info.name)
            if point is not None and point not in known and not self._ledger.is_known(point):
                reason, sentence = Reason.POINT_UNKNOWN, _STRANGE
                if not self._repository.counts(point, standing):
                    reason, sentence = Reason.POINT_VOID, _VOID
                self._findings.add(reason, info.name, sentence, (point.point_id,))

    def _void_tombstones(self, points: Sequence[PointName], standing: Standing) -> None:
        """Of points that stand."""
        for point in sorted(lying_tombstones(self._repository.store, points, TOMBSTONES_PREFIX)):
            signed = self._repository.tombstone(point) is not None
            if signed and self._ledger.is_available(point) and self._repository.burial(point, standing) is None:
                name = tombstone_name(point.tenant, point.vm_id, point.point_id)
                self._findings.add(Reason.TOMBSTONE_VOID, name, _VOID_TOMBSTONE)

    def one(self, objects: PointObjects, sound: SoundPages) -> bool:
        """Whether nothing was found; what other points share with it may have been found before. Raises as `run` does, and
        FormatUnsupported.
        """
        point, found = objects.name, Findings()
        bad: dict[bytes, SlotSet] = {}
        root = self._root(objects, found)
        if root is not None:
            reader = self._reader(root, found, point)
            if reader is not None:
                tree = TreeCheck(reader, self._tables, found, sound, self._ledger.may_continue)
                tree.run()
                self._refmap(objects, tree, found)
                bad = bad_slots(tree.bad)
        if len(found) and not self._ledger.is_available(point):
            return False  # deleted while we looked
        self._findings.take(found)
        for pack_id, slots in bad.items():
            self._bad(pack_id, slots)
        return not len(found)

    def _root(self, objects: PointObjects, found: Findings) -> Root | None:
        point = objects.name
        name = manifest_name(point.tenant, point.vm_id, point.point_id)
        try:
            return self._repository.open_root(objects.manifest[1])
        except ObjectMissing:
            found.add(Reason.MANIFEST_MISSING, name, "the point's manifest is not in the store", (point.point_id,))
        except _DAMAGED as error:
            found.add(Reason.MANIFEST_DAMAGED, name, f"the point's manifest cannot be read: {error}", (point.point_id,))
        return None

    def _reader(self, root: Root, found: Findings, point: PointName) -> PointReader | None:
        try:
            k_dedup = self._repository.k_dedup(root.tenant, root.key_epoch)
        except (KeyError, IntegrityError) as error:
            name = f"v1/keys/{root.tenant}/{root.key_epoch}"
            found.add(Reason.KEYS_MISSING, name, f"the keys of this epoch are not there: {error}", (point.point_id,))
            return None
        packs = StorePackReader(self._repository.store, root.tenant)
        return PointReader(root, root.lineage_id, k_dedup, packs)

    def _refmap(self, objects: PointObjects, tree: TreeCheck, found: Findings) -> None:
        point = objects.name
        name = refmap_name(point.tenant, point.vm_id, point.point_id)
        try:
            stored = objects.refmap
        except ObjectMissing:
            found.add(Reason.REFMAP_MISSING, name, "the point's refmap is not in the store", (point.point_id,))
        except _DAMAGED as error:
            found.add(Reason.REFMAP_DAMAGED, name, f"the point's refmap cannot be read: {error}", (point.point_id,))
        else:
            if not tree.covered:
                self._packs_of(stored)
            if tree.complete and differs(tree.refmap, stored):
                sentence = "the refmap does not name the slots that the point's manifest needs"
                found.add(Reason.REFMAP_DIFFERS, name, sentence, (point.point_id,))

    def _packs_of(self, refmap: Refmap) -> None:
        """What lies below a page that cannot be read is looked at all the same: healing must find everything that is lost."""
        for pack_id, slots in refmap.slots().items():
            pack = self._tables.of(pack_id)
            if pack.facts is not None and pack.table is not None:
                lacking = SlotSet.of(slots) - SlotSet.of(pack.table["slot"])
                if lacking:
                    self._bad(pack_id, lacking)
