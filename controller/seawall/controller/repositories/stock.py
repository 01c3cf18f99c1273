"""What lies in the bucket, for a database so old that condemn logs it would need are trimmed (repository/DESIGN.md, "Trimming").

All that those logs announced has left since, so the bucket says it by itself: a pack without an object is gone, and what a later
generation lacks was condemned. Called while a repository is opened; the listing of all packs, a folder of them at a time.
"""

from dataclasses import replace
from itertools import groupby

import numpy as np
import structlog

from seawall.controller.records.catalogue import Pack
from seawall.controller.repositories.stored_packs import stored_packs
from seawall.controller.store.transaction import Store
from seawall.repository.clock import Clock
from seawall.repository.errors import IntegrityError, ObjectMissing
from seawall.repository.format.layout import packs_prefix, parse_pack_name
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.generations import current_generation
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


def taken_stock(
    database: Store, clock: Clock, repository: OpenRepository, repository_id: str
) -> list[tuple[Pack, Pack]]:
    """(as the database has it, as it must be) of each STORED pack that is not what the database says. Raises what the store raises."""
    changed = []
    for folder, of_folder in groupby(stored_packs(database, repository_id), key=lambda pack: pack.id[0]):
        rows = list(of_folder)
        newest = {
            (tenant, pack_id): generation
            for tenant in sorted({row.tenant for row in rows})
            for pack_id, generation in _newest(repository, tenant, folder).items()
        }
        for row in rows:
            after = _as_found(repository, row, newest.get((row.tenant, row.id)), clock.now_us())
            if after != row:
                changed.append((row, after))
    return changed


def _newest(repository: OpenRepository, tenant: str, folder: int) -> dict[bytes, int]:
    """Pack id -> its newest generation, of one folder: by the first byte of their ids."""
    newest: dict[bytes, int] = {}
    for info in repository.store.list(f"{packs_prefix(tenant)}{folder:02x}/"):
        name = parse_pack_name(info.name)
        if name is not None:
            newest[name.pack_id] = max(name.generation, newest.get(name.pack_id, 0))
    return newest


def _as_found(repository: OpenRepository, pack: Pack, newest: int | None, now_us: int) -> Pack:
    every = SlotSet.first(pack.slots)
    if newest is None:
        return pack if pack.condemned == every else replace(pack, condemned=every, condemned_us=now_us)
    if newest <= pack.generations[-1]:
        return pack
    generation = current_generation(newest, pack.meta)
    try:
        held = repository.read_tail(pack.tenant, pack.id, generation).table["slot"]
    except (ObjectMissing, IntegrityError) as error:
        # Readers find the one of before, or nothing: verification says what of it is left.
        _log.warning("pack.later_generation_unreadable", pack=pack.id.hex(), generation=generation, error=str(error))
        return pack
    lost = every - SlotSet.of(held.astype(np.uint16))
    return replace(
        pack,
        condemned=pack.condemned | lost,
        generation=generation,
        reserved_generation=max(pack.reserved_generation, newest),
    )
