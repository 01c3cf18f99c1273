"""One moment's index: its parts. Replaced as a whole, so that lookups need no lock."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from seawall.controller.index.layout import FORGOTTEN
from seawall.controller.index.merge import merged
from seawall.controller.index.part import Part
from seawall.controller.index.policy import Size

RECENT_RATIO = 4


@dataclass(frozen=True, eq=False, slots=True)
class Shard:
    """A part in a file."""

    name: str
    digest: str
    part: Part


@dataclass(frozen=True, eq=False, slots=True)
class State:
    shards: tuple[Shard, ...] = ()
    """Oldest first."""
    leaving: tuple[Part, ...] = ()
    """In memory, on the way into a file."""
    recent: tuple[Part, ...] = ()
    """In memory."""

    def parts(self) -> Iterator[Part]:
        for shard in self.shards:
            yield shard.part
        yield from self.leaving
        yield from self.recent

    def live(self, pack_id: bytes) -> tuple[Part, int] | None:
        """The one part that holds a pack which was not forgotten, and its number there."""
        for part in self.parts():
            number = part.live(pack_id)
            if number is not None:
                return part, number
        return None

    def waiting_entries(self) -> int:
        return sum(part.segment.entries for part in self.recent)

    def sizes(self) -> list[Size]:
        return [Size(shard.part.segment.entries, shard.part.dropped) for shard in self.shards]

    def with_recent(self, part: Part) -> "State":
        return replace(self, recent=_settled((*self.recent, part)))

    def forgetting(self, old: Part, number: int) -> "State":
        """With a copy of one part that has forgotten a pack; whoever looks at this state goes on seeing it."""
        flags = old.flags.copy()
        flags[number] |= FORGOTTEN
        fresh = Part(old.segment, flags, old.withdrawn)
        fresh.unsaved = True

        def other(part: Part) -> Part:
            return fresh if part is old else part

        shards = tuple(Shard(shard.name, shard.digest, other(shard.part)) for shard in self.shards)
        return State(shards, tuple(map(other, self.leaving)), tuple(map(other, self.recent)))


def _settled(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The newest of like size become one, so that there are never more than a few, and each entry is copied few times."""
    if len(parts) < RECENT_RATIO:
        return parts
    newest = parts[-RECENT_RATIO:]
    if newest[0].segment.entries > RECENT_RATIO * newest[-1].segment.entries:
        return parts
    return _settled((*parts[:-RECENT_RATIO], Part(merged(newest))))
