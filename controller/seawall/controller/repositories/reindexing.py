"""When a repository is opened: its chunk index is made to agree with the database, and packs that it lost are read again from the store."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from seawall.controller.index.reconcile import PackFacts, reconcile
from seawall.controller.records.catalogue import Pack
from seawall.controller.repositories.opened import OpenedRepository
from seawall.repository.batches import in_batches

READERS = 16
"""Tables read at once: one at a time, the store's latency alone would take hours for a million packs."""
_SLICE = 256


def reindex(opened: OpenedRepository, stored: Callable[[], Iterable[Pack]], go_on: Callable[[], None]) -> int:
    """How many tables were read. `stored`: the STORED packs, asked for once, and once more where tables are missing.

    `go_on` may raise to end it; what was read so far is kept. Raises what reading a table raises.
    """
    missing = frozenset(reconcile(opened.index, (_facts(opened, pack) for pack in stored())))
    lost = (pack for pack in stored() if pack.id in missing) if missing else ()
    with ThreadPoolExecutor(READERS, "reindex") as readers:
        for some in in_batches(lost, _SLICE):
            go_on()
            for _ in readers.map(opened.raw_lengths, some):
                pass
    return len(missing)


def _facts(opened: OpenedRepository, pack: Pack) -> PackFacts:
    return PackFacts(pack.id, pack.generation, pack.verified and opened.shares_packs, pack.unusable.array())
