"""Which packs one check reads whole: those that were looked at longest ago, up to a share of all bytes. Pure.

So the sample rotates by itself: ten checks of 10 % read everything once, whoever started them, and whatever came or went meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from seawall.repository.checking.port import PackFacts

PAGE = 64


class Oldest(Protocol):
    """`Ledger.oldest`."""

    def __call__(self, limit: int, *, seen_only: bool = False) -> Sequence[PackFacts]: ...


_Ask = Callable[[int], Sequence[PackFacts]]


def share_of(total_bytes: int, percent: int) -> int:
    """Bytes, rounded up."""
    return -(-total_bytes * percent // 100)


def sample(oldest: Oldest, limit_bytes: int, before_us: int, *, new_only: bool = False) -> Iterator[PackFacts]:
    """Packs last looked at before `before_us`, until what they hold reaches the limit; at least one. `new_only`: never looked at.

    A pack counts as dealt with once it was yielded; whoever looks at it makes it young. Packs stored meanwhile come first.
    """
    queue = _Queue(oldest, before_us, new_only=new_only)
    taken_bytes = 0
    while taken_bytes < limit_bytes and (pack := queue.next()) is not None:
        taken_bytes += pack.stored_bytes
        yield pack


def rolling_sample(oldest: Oldest, limit_bytes: int, before_us: int) -> Iterator[PackFacts]:
    """Packs that were looked at, up to the limit; between them as many bytes of new ones at most: neither waits for all of the other."""
    seen = _Queue(lambda limit: oldest(limit, seen_only=True), before_us)
    new = _Queue(oldest, before_us, new_only=True)
    seen_bytes = new_bytes = 0
    while seen_bytes < limit_bytes and (pack := seen.next()) is not None:
        seen_bytes += pack.stored_bytes
        yield pack
        while new_bytes < seen_bytes and (pack := new.next()) is not None:
            new_bytes += pack.stored_bytes
            yield pack


class _Queue:
    """Packs in the ledger's order, each once; asks again for those that were stored meanwhile."""

    def __init__(self, ask: _Ask, before_us: int, *, new_only: bool = False) -> None:
        self._ask = ask
        self._before_us = before_us
        self._new_only = new_only
        self._yielded: set[bytes] = set()
        self._page: list[PackFacts] = []

    def next(self) -> PackFacts | None:
        """None: none at the moment."""
        self._page = self._page or self._next_page()
        if not self._page:
            return None
        pack = self._page.pop(0)
        self._yielded.add(pack.id)
        return pack

    def _next_page(self) -> list[PackFacts]:
        """The ones that wait in the ledger's order may be those that nobody could decide on, or that are being read: ask for more then."""
        limit = PAGE
        while True:
            found = self._ask(limit)
            page = [pack for pack in found if pack.id not in self._yielded and self._is_wanted(pack)]
            if page or len(found) < limit or not self._is_wanted(found[-1]):
                return page
            limit *= 4

    def _is_wanted(self, pack: PackFacts) -> bool:
        return pack.looked_us < self._before_us and not (self._new_only and pack.looked_us)
