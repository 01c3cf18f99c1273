"""A generation above the one that counts: a compaction or a healing wrote it and did not live to tell of it, or a rolled-back database
forgot it. It is never deleted: if it is whole, it counts from now on. Called by the sweep.
"""

import numpy as np

from seawall.repository.collecting.compact import proven_tail
from seawall.repository.collecting.plan import Report, every_slot
from seawall.repository.collecting.port import Ledger, PackFacts
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.generations import current_generation, stored_generations
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository


def take_over(repository: OpenRepository, ledger: Ledger, pack: PackFacts, report: Report) -> bool:
    """Whether the newest generation counts now. One that is not whole is kept back: the pack's next generation lies above it.

    Raises StoreUnavailable, LedgerRefused.
    """
    newest = current_generation(stored_generations(repository.store, pack.tenant, pack.pack_id)[0], pack.meta)
    names = [pack_name(pack.tenant, pack.pack_id, newest + copy) for copy in range(len(pack.generations))]
    try:
        with naming(names[0]):
            bodies = [repository.store.get(name) for name in names]
            _require_whole(pack, bodies)
    except (ObjectMissing, StoreRefused, IntegrityError) as error:
        report.keep_back(names[0], f"later than the generation that counts, and it cannot take its place: {error}")
        return False
    ledger.compacted(pack.pack_id, newest, len(bodies[0]), b"")  # whole, but only its place says which pack it is
    return True


def _require_whole(pack: PackFacts, bodies: list[bytes]) -> None:
    """Raises IntegrityError: altered, two copies that differ, or slots that were not condemned are not there."""
    if any(body != bodies[0] for body in bodies):
        raise IntegrityError("its two copies differ")
    held = proven_tail(bodies[0]).table["slot"]
    wanted = (every_slot(pack) - pack.condemned).array()
    if len(np.setdiff1d(wanted, held)):
        raise IntegrityError("it lacks chunks that may be needed")
