"""What a point reader asks of the world, and who follows a restore.

A PackReader is implemented by agents over presigned URLs, by rescue straight on a store; a PageFollower by rescue.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import RepositoryError
from seawall.repository.format.leaf import Leaf
from seawall.repository.reading.damage import Damage


class PackReader(Protocol):
    """Ranged reads of packs. Thread-safe."""

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of any generation that lies there. Raises ObjectMissing, StoreUnavailable, IntegrityError (a short
        answer)."""

    def generations(self, pack_id: bytes) -> Sequence[int]:
        """Those that can be read now, the newest first; asked where a named one is missing or altered. Empty: the pack is gone.

        Agents are told the present one even if it is lost. Raises StoreUnavailable, StoreRefused.
        """

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        """The table of contents of one of `generations`. Raises ObjectMissing, StoreUnavailable, StoreRefused, IntegrityError."""


class PageFollower(Protocol):
    """Follows the restore of one disk page by page, to resume it and to go on over damage. Pages that read as zeroes are not told of."""

    def holds(self, index: int, leaf: Leaf) -> bool:
        """Whether the target has all of this page already, proven; then it is neither fetched nor written. In a thread of its own."""

    def page_done(self, index: int) -> None:
        """All of it is written (not yet durable) without damage. In the thread that called `restore_disk`."""

    def lost(self, damage: Damage, cause: RepositoryError) -> None:
        """Returns: the ranges are zeroed and the restore goes on. Raises: it ends so. In any thread."""
