"""Which generations of a pack lie in a store. Asked only where the one that somebody names is gone: compaction replaced it."""

from seawall.repository.format.layout import pack_generations_prefix, parse_pack_name
from seawall.repository.store.port import Store


def stored_generations(store: Store, tenant: str, pack_id: bytes) -> list[int]:
    """Newest first; empty: the pack is gone. Raises StoreUnavailable, StoreRefused."""
    names = (parse_pack_name(info.name) for info in store.list(pack_generations_prefix(tenant, pack_id)))
    return sorted((name.generation for name in names if name is not None), reverse=True)


def current_generation(newest: int, meta: bool) -> int:
    """The one that counts where this is the newest stored: of a meta pack's two copies the first, which has the even number."""
    return newest & ~1 if meta else newest
