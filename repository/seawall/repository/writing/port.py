"""What a point writer asks of the world. Implemented by agents over gRPC and presigned URLs, and by tests straight on a store."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from seawall.repository.format.pack import SealedPack
from seawall.repository.format.record import Locator
from seawall.repository.reading.port import PackReader

__all__ = ["PackReader", "WriteCoordinator"]


class WriteCoordinator(Protocol):
    """Thread-safe. Raises TemporaryError only after its own retries are used up."""

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        """Which of these may be named without uploading them. At most 4,096 ids a call."""

    def store_pack(self, pack: SealedPack) -> None:
        """Returns when the pack is stored and known to the index. A meta pack is stored twice (generations 0 and 1)."""
