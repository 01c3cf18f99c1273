"""What may be stored twice, and what was. Pure: copies and attempts in, figures out. See repository/DESIGN.md, "Many writers".

A chunk is stored once more only by an attempt that began before a copy was there that its host may name: one in a pack of its own host, or
one in a verified pack. So nothing is stored twice but what attempts have in common that run at one time, on one host until the first of
them reports the pack, on several until it is verified.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Copy:
    """One slot. `stored_bytes`: as it lies there. Times in microseconds: `reported_us` is the latest that it can have been."""

    chunk_id: bytes
    stored_bytes: int
    attempt_id: str
    host_id: str
    reported_us: int
    verified_us: int = NEVER


@dataclass(frozen=True, slots=True)
class Began:
    """An attempt that stored something."""

    host_id: str
    us: int


@dataclass(frozen=True, slots=True)
class Doubled:
    """Bytes are of bodies as they lie in packs."""

    chunks: int
    unique_bytes: int
    stored_bytes: int
    bound_bytes: int
    """Most that may be stored beyond one copy each."""
    most_copies: int
    violations: tuple[str, ...]

    @property
    def twice_bytes(self) -> int:
        return self.stored_bytes - self.unique_bytes


def doubled(copies: Iterable[Copy], attempts: Mapping[str, Began], holders: Mapping[bytes, frozenset[str]]) -> Doubled:
    """`holders`: the attempts whose points name each chunk, whoever stored it; those who stored it need not be among them."""
    by_chunk: dict[bytes, list[Copy]] = defaultdict(list)
    for copy in copies:
        by_chunk[copy.chunk_id].append(copy)
    unique = stored = bound = most = 0
    violations: list[str] = []
    for chunk_id, same in sorted(by_chunk.items()):
        unique += same[0].stored_bytes
        stored += sum(copy.stored_bytes for copy in same)
        most = max(most, len(same))
        may = {
            attempt
            for attempt in holders.get(chunk_id, frozenset()) | {copy.attempt_id for copy in same}
            if _may_store(attempts[attempt], attempt, same)
        }
        bound += max(0, len(may) - 1) * same[0].stored_bytes
        violations += _violations(same, attempts)
    return Doubled(len(by_chunk), unique, stored, bound, most, tuple(violations))


def _may_store(began: Began, attempt_id: str, same: Sequence[Copy]) -> bool:
    return not any(copy.attempt_id != attempt_id and _answers(copy, began) for copy in same)


def _answers(copy: Copy, began: Began) -> bool:
    """Whether a Lookup of that host finds it from the beginning of the attempt on."""
    return (copy.host_id == began.host_id and copy.reported_us <= began.us) or copy.verified_us <= began.us


def _violations(same: Sequence[Copy], attempts: Mapping[str, Began]) -> list[str]:
    found = []
    for copy in same:
        if sum(other.attempt_id == copy.attempt_id for other in same) > 1:
            found.append(f"attempt {copy.attempt_id} stored chunk {copy.chunk_id.hex()} twice")
        if not _may_store(attempts[copy.attempt_id], copy.attempt_id, same):
            found.append(
                f"attempt {copy.attempt_id} stored chunk {copy.chunk_id.hex()}, which its host could name when it began"
            )
    return found
