"""A database that was put back, as an opening asks it: it knows nothing of what the bucket holds."""

from collections.abc import Callable, Sequence
from typing import Any

from seawall.controller.records.catalogue import Point


class OtherDatabase:
    """One that was put back: it has no such point and no such run. `failed`: those that it gave up."""

    def __init__(self, failed: Sequence[Point] = ()) -> None:
        self.failed = failed
        self.runs = self.points = self.leadership = self

    def read_now(self, closure: Callable[[Any], Any]) -> Any:
        return closure(self)

    def runs_of(self, _: object) -> list[object]:
        return []

    def point(self, _: str) -> None:
        return None

    def check(self, _: object) -> None:
        return None

    def given_up(self, _: str) -> Sequence[Point]:
        return self.failed


class Leading:
    current = None
