"""A PackReader straight on a store: for who holds storage keys (rescue). Agents read through signed URLs instead."""

import errno
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError, StoreUnavailable
from seawall.repository.format.layout import pack_name
from seawall.repository.generations import stored_generations
from seawall.repository.naming import naming
from seawall.repository.reading.tables import table_by_suffix
from seawall.repository.store.port import Store


class StorePackReader:
    """The packs of one tenant. Thread-safe as its store is."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        name = pack_name(self._tenant, pack_id, generation)
        try:
            body = self._store.get_range(name, offset, length)
        except StoreUnavailable as error:
            # A medium that cannot read a place will not read it next time: that is damage, and what is beside it may be whole.
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
                raise IntegrityError(str(error)) from error
            raise
        if len(body) != length:
            raise IntegrityError(f"{name}: ends before byte {offset + length}")
        return body

    def generations(self, pack_id: bytes) -> Sequence[int]:
        return stored_generations(self._store, self._tenant, pack_id)

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        name = pack_name(self._tenant, pack_id, generation)
        with naming(name):
            return table_by_suffix(lambda length: self._store.get_suffix(name, length))
