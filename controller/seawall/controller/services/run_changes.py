"""Which runs changed since when: marks of all runs that matter, looked at again and again, numbered change by change. Pure."""

from collections.abc import Mapping

RunMarks = Mapping[str, int]
"""Run id -> a number that is another one whenever anything that is shown of the run changed."""


class RunChanges:
    """Bounded by the runs that are looked at: each has one number, of its last change."""

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}
        self._changed: dict[str, int] = {}  # in the order of the numbers
        self.number = 0
        """Of the last change."""
        self.oldest = 0
        """Who saw less than this may have missed the end of a run that is looked at no more."""

    def look(self, marks: RunMarks) -> None:
        """The marks as they are now. Runs that are missing are forgotten."""
        for run_id in self._marks.keys() - marks.keys():
            self.oldest = max(self.oldest, self._changed.pop(run_id))
        for run_id, mark in marks.items():
            if self._marks.get(run_id) != mark:
                self.number += 1
                self._changed.pop(run_id, None)
                self._changed[run_id] = self.number
        self._marks = dict(marks)

    def forget(self) -> None:
        """Nobody looked for long: whoever saw anything before may have missed an end."""
        self.number += 1
        self.oldest = self.number

    def since(self, number: int) -> list[str]:
        """Runs that changed after that change, in the order of their last changes. `number` is not below `oldest`."""
        found = []
        for run_id, changed in reversed(self._changed.items()):
            if changed <= number:
                break
            found.append(run_id)
        return found[::-1]

    def all(self) -> list[str]:
        """Every run that is looked at."""
        return list(self._marks)
