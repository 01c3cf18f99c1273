"""Small objects read whole, with a bound: what lies in a bucket may be of any size, and is not believed before it is proven."""

from seawall.repository.errors import IntegrityError
from seawall.repository.store.port import Store

SMALL_OBJECT_BYTES = 1024 * 1024
"""Config and key objects: a descriptor of at most 64 KiB and a sealed bundle."""

MANIFEST_BYTES = 64 * 1024 * 1024
"""An `m/` object: about 300 bytes for 16 GiB of disk."""

REFMAP_BYTES = 256 * 1024 * 1024
"""An `r/` object: two bytes for each of the 2^27 slots that a point may have, at most."""


def read_bounded(store: Store, name: str, limit_bytes: int) -> bytes:
    """All of an object. Raises IntegrityError when it has more than `limit_bytes`; what the store raises."""
    body = store.get_range(name, 0, limit_bytes + 1)
    if len(body) > limit_bytes:
        raise IntegrityError(f"{name}: over {limit_bytes} bytes long, which nothing of its kind is")
    return body
