"""What a point reader asks of the world. Implemented by agents over presigned URLs, by rescue and by tests straight on a store."""

from typing import Protocol


class PackReader(Protocol):
    """Ranged reads of packs. Thread-safe."""

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises ObjectMissing, StoreUnavailable, IntegrityError (a short answer)."""
