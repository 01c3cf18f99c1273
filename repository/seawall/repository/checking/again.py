"""Points that are checked again, whole: each pack that they need is read, unless that was done lately, then their structure.

Called by `check`. What was read is recorded pack by pack, so a point that is too large for one check is done in several.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from seawall.repository.batches import in_batches
from seawall.repository.checking.finding import Findings
from seawall.repository.checking.opened_point import PointObjects
from seawall.repository.checking.port import Ledger, PackFacts
from seawall.repository.checking.proving import is_sound, looked_at, slots_needed
from seawall.repository.checking.structure import StructureCheck
from seawall.repository.checking.tree import SoundPages
from seawall.repository.format.layout import PointName
from seawall.repository.repository import OpenRepository


def packs_to_read(
    repository: OpenRepository, ledger: Ledger, points: Sequence[PointName], before_us: int, limit_bytes: int
) -> Iterator[PackFacts]:
    """What of these points was last read before `before_us`, point after point, each pack once, until the limit is reached; at least one.

    Raises StoreUnavailable, BucketMissing, and what the ledger raises.
    """
    yielded: set[bytes] = set()
    taken_bytes = 0
    for name in points:
        ledger.may_continue()
        for pack in _packs_of(repository, ledger, name):
            if pack.id in yielded or pack.looked_us >= before_us:
                continue
            if taken_bytes >= limit_bytes:
                return
            yielded.add(pack.id)
            taken_bytes += pack.stored_bytes
            yield pack


def check_points(
    repository: OpenRepository, ledger: Ledger, findings: Findings, points: Sequence[PointName], before_us: int
) -> int:
    """How many were checked. One of which something was last read before `before_us` waits for a check that reads it.

    Raises StoreUnavailable, BucketMissing, and what the ledger raises.
    """
    check = StructureCheck(repository, ledger, findings, unreadable=lambda pack: None, bad=lambda pack_id, slots: None)
    checked = 0
    for _, of_vm in groupby(sorted(points), key=lambda point: (point.tenant, point.vm_id)):
        sound = SoundPages()
        for name in of_vm:
            ledger.may_continue()
            objects = PointObjects(repository, name)
            look = looked_at(ledger, objects)
            if look is None or 0 < look.read_us < before_us:
                continue
            whole = is_sound(check, objects, sound, findings) and look.whole
            if ledger.is_available(name):
                ledger.proved(name, whole, look.read_us)
                checked += 1
    return checked


def _packs_of(repository: OpenRepository, ledger: Ledger, name: PointName) -> Iterator[PackFacts]:
    for ids in in_batches(sorted(slots_needed(PointObjects(repository, name)) or ())):
        yield from ledger.packs(ids).values()
