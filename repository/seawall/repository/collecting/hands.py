"""How many requests to the store are under way at once. Tests and fault rounds use one hand: then steps come in one order."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Hands:
    """`removing`: deletions. `reading`: refmaps, each up to 256 MiB decoded. `shrinking`: packs, each held three times."""

    removing: int = 1
    reading: int = 1
    shrinking: int = 1


ONE_HAND = Hands()
MANY_HANDS = Hands(removing=8, reading=4, shrinking=3)


def each(hands: int, call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results in the order of the items. Raises the first error once all calls that had begun are over; the others never begin."""
    if hands == 1:
        return [call(item) for item in items]
    with ThreadPoolExecutor(hands, thread_name_prefix="collecting") as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
