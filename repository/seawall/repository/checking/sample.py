"""Which packs one check reads whole: those that were looked at longest ago, new ones first, up to a share of all bytes. Pure.

So the sample rotates by itself: ten checks of 10 % read everything once, whoever started them, and whatever came or went meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence

from seawall.repository.checking.port import PackFacts

PAGE = 64
Oldest = Callable[[int], Sequence[PackFacts]]
"""So many STORED packs by (looked_us, id)."""


def share_of(total_bytes: int, percent: int) -> int:
    """Bytes, rounded up."""
    return -(-total_bytes * percent // 100)


def sample(oldest: Oldest, limit_bytes: int, before_us: int, *, new_only: bool = False) -> Iterator[PackFacts]:
    """Packs last looked at before `before_us`, until what they hold reaches the limit; at least one. `new_only`: never looked at.

    A pack counts as dealt with once it was yielded; whoever looks at it makes it young. Packs stored meanwhile come first.
    """
    yielded: set[bytes] = set()
    taken_bytes = 0
    while page := _page(oldest, yielded, before_us, new_only=new_only):
        for pack in page:
            if taken_bytes >= limit_bytes:
                return
            yielded.add(pack.id)
            taken_bytes += pack.stored_bytes
            yield pack


def _page(oldest: Oldest, yielded: set[bytes], before_us: int, *, new_only: bool) -> list[PackFacts]:
    """The ones that wait in the ledger's order may be those that nobody could decide on, or that are being read: ask for more then."""
    limit = PAGE
    while True:
        found = oldest(limit)
        page = [pack for pack in found if pack.id not in yielded and pack.looked_us < before_us]
        page = [pack for pack in page if not pack.looked_us] if new_only else page
        if page or len(found) < limit or found[-1].looked_us >= before_us or (new_only and found[-1].looked_us):
            return page
        limit *= 4
