"""Which shards to merge next. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_ENTRIES = 1 << 28
"""Of a shard (9.6 GB): bounds what one merge writes, and the room that it needs beside the old files."""
RATIO = 2
"""Each shard has more than this many times the entries of all newer ones, so that there are few, and each entry is written few times."""
DROPPED_SHARE = 4
"""A shard of which a quarter answers no more is written anew."""


@dataclass(frozen=True, slots=True)
class Size:
    entries: int
    dropped: int


def next_merge(shards: Sequence[Size], most_entries: int = MOST_ENTRIES) -> range | None:
    """Neighbours to make one of, oldest first in `shards`; one alone is only cleaned. None: all is well."""
    start, newer = len(shards), 0
    for number in range(len(shards) - 1, -1, -1):
        entries = shards[number].entries
        if newer + entries > most_entries:
            break
        if number < len(shards) - 1 and entries <= RATIO * newer:
            start = number
        newer += entries
    if start < len(shards):
        return range(start, len(shards))
    for number, shard in enumerate(shards):
        if shard.dropped * DROPPED_SHARE > shard.entries:
            return range(number, number + 1)
    return None
