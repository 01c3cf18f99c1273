"""Seeds that once found something, with what it was: played by every `make test`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Saved:
    """`often`: faults that led to it. What a seed means changes with the product; they bring it about all the same."""

    found: str
    often: tuple[str, ...] = ()


SAVED = {
    "1": Saved(
        "a calendar that never came to an end when a controller looked at it less than two seconds and a fraction before clocks change"
    ),
    "50": Saved(
        "a run that an older database held open, its point made and deleted since: the next of that name lay below the tombstone",
        ("_lose_a_deletion",),
    ),
    "51": Saved(
        "a point published although its packs were gone: given up and collected in the time that was lost, and no epoch said that any was",
        ("_lose_a_collection",),
    ),
}
