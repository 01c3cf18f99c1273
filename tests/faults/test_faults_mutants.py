"""Each rule dropped from the real code is caught by its history, and without the mutant that history is harmless."""

from pathlib import Path

import pytest

from .mutants import MUTANTS, Mutant
from .place import Place, made_place
from .planting import caught, played
from .rounds import play
from .scenario_words import Scenario
from .scenarios import answered_by_a_stale_index, compacted_again_after_a_bad_copy
from .scenarios_leaders import (
    announced_with_one_number,
    announced_with_one_number_by_the_greater,
    compacted_while_rolled_back,
    replaced_and_its_log_comes_late,
    rolled_back_before_a_collection_and_many_points,
    rolled_back_below_the_trimmed_logs,
)

SEEDS = ("ci/0", "ci/1", "ci/2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made_place(tmp_path_factory.mktemp("place"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_mutant_is_caught(place: Place, tmp_path: Path, mutant: Mutant) -> None:
    assert not played(place, tmp_path / "without", mutant.caught_by)
    assert caught(place, tmp_path / "with", mutant)


@pytest.mark.parametrize(
    "scenario",
    [
        replaced_and_its_log_comes_late,
        rolled_back_below_the_trimmed_logs,
        compacted_while_rolled_back,
        compacted_again_after_a_bad_copy,
        announced_with_one_number,
        announced_with_one_number_by_the_greater,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_a_history_ends_well(place: Place, tmp_path: Path, scenario: Scenario) -> None:
    assert not played(place, tmp_path / "world", scenario)


def test_a_stale_index_costs_nothing_but_a_repetition(place: Place, tmp_path: Path) -> None:
    assert not played(place, tmp_path / "world", answered_by_a_stale_index)


def test_adopted_points_hide_no_log_of_what_was_collected(place: Place, tmp_path: Path) -> None:
    assert not played(place, tmp_path / "world", rolled_back_before_a_collection_and_many_points)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_round_ends_well(place: Place, tmp_path: Path, seed: str) -> None:
    world = play(place, tmp_path / "world", seed)
    assert not world.findings.all, world.history
