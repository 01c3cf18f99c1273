"""When a repository is opened: its chunk index is made to agree with the database, and packs that it lost are read again from the store."""

from collections.abc import Callable, Iterable

from seawall.controller.index.reconcile import PackFacts, reconcile
from seawall.controller.records.catalogue import Pack
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.readers import store_readers
from seawall.repository.batches import in_batches

_SLICE = 256


def reindex(opened: OpenedRepository, stored: Callable[[], Iterable[Pack]], go_on: Callable[[], None]) -> int:
    """How many tables were read. `stored`: the STORED packs, asked for once, and once more where tables are missing.

    `go_on` may raise to end it; what was read so far is kept. Raises what reading a table raises.
    """
    missing = frozenset(reconcile(opened.index, (_facts(opened, pack) for pack in stored())))
    lost = (pack for pack in stored() if pack.id in missing) if missing else ()
    with store_readers("reindex") as readers:
        for some in in_batches(lost, _SLICE):
            go_on()
            for _ in readers.map(opened.raw_lengths, some):
                pass
    return len(missing)


def _facts(opened: OpenedRepository, pack: Pack) -> PackFacts:
    return PackFacts(pack.id, pack.generation, pack.verified and opened.shares_packs, pack.unusable.array())
