"""Which points are proven: every chunk that they name was read back whole, and their refmap names all that their pages need (rule 12).

Called at the end of a check. Pages that a proven point of the VM has are not read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.batches import in_batches
from seawall.repository.checking.finding import Findings, newer
from seawall.repository.checking.opened_point import PointObjects, opened_point
from seawall.repository.checking.port import Ledger, Unproven
from seawall.repository.checking.structure import StructureCheck
from seawall.repository.checking.tree import SoundPages
from seawall.repository.errors import FormatUnsupported, RepositoryError, TemporaryError
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.repository import OpenRepository

MOST_POINTS = 1000
"""In one check: the next one goes on."""


@dataclass(frozen=True, slots=True)
class Look:
    """At all packs that a point needs. `whole`: every slot that its refmap names was proven. `read_us`: the oldest look; 0: at none."""

    whole: bool
    read_us: int = 0


def prove_points(repository: OpenRepository, ledger: Ledger, findings: Findings, *, again: bool = False) -> int:
    """How many were proven. `again`: also those that were looked at before, in vain.

    Raises StoreUnavailable, BucketMissing, and what the ledger raises.
    """
    check = StructureCheck(repository, ledger, findings, unreadable=lambda pack: None, bad=lambda pack_id, slots: None)
    sound, vm, proven = SoundPages(), ("", ""), 0
    for each in ledger.unproven(MOST_POINTS, again=again):
        ledger.may_continue()
        if vm != (each.name.tenant, each.name.vm_id):
            sound, vm = _sound_pages(repository, each), (each.name.tenant, each.name.vm_id)
        objects = PointObjects(repository, each.name)
        look = looked_at(ledger, objects)
        if look is None:
            continue  # its packs come first
        proved = is_sound(check, objects, sound, findings) and look.whole
        ledger.proved(each.name, proved, look.read_us)
        proven += proved
    return proven


def is_sound(check: StructureCheck, objects: PointObjects, sound: SoundPages, findings: Findings) -> bool:
    """One page that says of itself that it is newer, and any host may write one, keeps no other point from being looked at."""
    try:
        return check.one(objects, sound)
    except FormatUnsupported as error:
        newer(findings, objects.name, error)
        return False


def _sound_pages(repository: OpenRepository, each: Unproven) -> SoundPages:
    """Those of the sibling, as its nodes name them. What of it cannot be read is read with the point itself."""
    sound = SoundPages()
    if each.sibling is None:
        return sound
    try:
        reader = opened_point(repository, each.sibling)
        for disk in reader.root.disks:
            for _, page in reader.pages(disk):
                if page.chunk is not None:
                    sound.add(page)
    except TemporaryError:
        raise
    except (RepositoryError, KeyError):
        return SoundPages()
    return sound


def slots_needed(objects: PointObjects) -> Mapping[bytes, NDArray[np.uint16]] | None:
    """Of each pack; None where the refmap cannot be read: the look at the point's structure says why."""
    try:
        return objects.refmap.slots()
    except TemporaryError:
        raise
    except RepositoryError:
        return None


def looked_at(ledger: Ledger, objects: PointObjects) -> Look | None:
    """None: not all of its packs were read yet."""
    slots = slots_needed(objects)
    if slots is None:
        return Look(False)
    whole, read_us = True, 0
    for ids in in_batches(sorted(slots)):
        packs = ledger.packs(ids)
        for pack_id in ids:
            pack = packs.get(pack_id)
            if pack is not None and not pack.looked_us:
                return None
            named = SlotSet.of(slots[pack_id])
            whole &= pack is not None and len(named - pack.bad - pack.condemned) == len(named)
            if pack is not None:
                read_us = min(read_us or pack.looked_us, pack.looked_us)
    return Look(whole, read_us)
