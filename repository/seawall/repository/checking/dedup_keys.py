"""The dedup keys of a tenant, tried in turn: a pack does not say under which key epoch it was written."""

from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.errors import IntegrityError
from seawall.repository.format.record import ChunkType, Codec, open_record


class DedupKeys:
    """Of one tenant. One thread's: it remembers which key fitted last."""

    def __init__(self, secrets: RepositorySecrets, tenant: str) -> None:
        epochs = sorted((epoch for name, epoch in secrets.dedup_keys if name == tenant), reverse=True)
        self._keys = [secrets.dedup_keys[tenant, epoch] for epoch in epochs]
        self.lacking = tuple(why for (name, _), why in sorted(secrets.unopened.items()) if name == tenant)
        """Why keys of some epochs are not here. Then nothing may be called false."""

    def __bool__(self) -> bool:
        return bool(self._keys)

    def opens(
        self, lineage_id: bytes, h: bytes, type: ChunkType, codec: Codec, raw_bytes: int, body: bytes | memoryview
    ) -> bool:
        """Whether the record is whole and its content is what `h` says, under any key epoch of the tenant."""
        for position, key in enumerate(self._keys):
            try:
                open_record(lineage_id, key, h, type, codec, raw_bytes, body)
            except IntegrityError:
                continue
            # A writer uses one epoch for a whole pack.
            self._keys.insert(0, self._keys.pop(position))
            return True
        return False
