"""No order of events loses a point; and the machine that says so did all of it, and sees what is wrong where a rule is missing."""

import pytest
from hypothesis.errors import HypothesisException

from .fleet_machine import searched
from .mutants import MUTANTS, Mutant
from .place import Place, made_place

LEAST = {
    "acknowledged": 10,
    "forgotten": 5,
    "collected": 12,
    "condemned": 3,
    "removal told": 3,
    "compacted": 1,
    "second leader": 2,
    "rolled back": 1,
}
"""What `make test` must have done at least: less than half of the least that ten examples did in several tries, as Hypothesis tries others
after any change of the code. A machine that hands nothing in, as the one before this, proves nothing.
"""

CAUGHT_SOON = (
    "3: intents are not live",
    "4: the open mark leaves points out",
    "9: compaction drops more",
)
CAUGHT_LATER = (
    "mistake: the commit check is skipped",
    "1: packs that the mark never saw are condemned",
    "11: no tombstone, no look",
)
"""By the machine, as by their histories."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made_place(tmp_path_factory.mktemp("place"))


def mutants(rules: tuple[str, ...]) -> list[Mutant]:
    found = [mutant for mutant in MUTANTS if mutant.rule in rules]
    assert len(found) == len(rules), rules
    return found


def test_no_order_of_events_loses_a_point(place: Place) -> None:
    done = searched(place, examples=10, steps=24, always_the_same=True)
    assert not {what: done[what] for what, least in LEAST.items() if done[what] < least}, done


@pytest.mark.parametrize("mutant", mutants(CAUGHT_SOON), ids=lambda mutant: mutant.rule)
def test_the_machine_catches_a_mutant(place: Place, mutant: Mutant) -> None:
    catches(place, mutant, examples=30, always_the_same=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_longer_order_of_events_loses_a_point(place: Place) -> None:
    searched(place, examples=60, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mutant", mutants(CAUGHT_LATER), ids=lambda mutant: mutant.rule)
def test_the_machine_catches_a_mutant_in_time(place: Place, mutant: Mutant) -> None:
    catches(place, mutant, examples=200)


def catches(place: Place, mutant: Mutant, examples: int, *, always_the_same: bool = False) -> None:
    """A step that breaks counts as well, as with the mutants' own histories; what Hypothesis has to say of itself does not."""
    with mutant.patch(), pytest.raises(Exception) as caught:
        searched(place, examples, steps=24, shrink=False, always_the_same=always_the_same)
    assert not isinstance(caught.value, HypothesisException), caught.value
