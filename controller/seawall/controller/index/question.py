"""What a lookup asks, prepared once for all segments."""

from dataclasses import dataclass

import numpy as np

from seawall.controller.index.filter import bits_of
from seawall.controller.index.layout import Positions, Words, split_ids


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """Ids in order, as words: neighbours in the question are neighbours in the segments."""

    position: Positions
    """Of each id in what was asked."""
    high: Words
    low: Words
    bits: Words
    """For the filters."""

    def __len__(self) -> int:
        return len(self.high)

    def only(self, chosen: Positions) -> "Question":
        return Question(self.position[chosen], self.high[chosen], self.low[chosen], self.bits[chosen])


def question_of(joined_ids: bytes) -> Question:
    """Of ids of 16 bytes, concatenated."""
    high, low = split_ids(joined_ids)
    order = np.argsort(high)
    low = low[order]
    return Question(order, high[order], low, bits_of(low))
