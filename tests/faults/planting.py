"""Plays a mutant's history with and without it."""

from pathlib import Path

from .mutants import Mutant
from .place import Place
from .scenario_words import Scenario
from .world import World


def played(place: Place, directory: Path, scenario: Scenario) -> list[str]:
    """What is wrong in the end. A step that breaks counts as well: a mutant may show itself in any way."""
    world = World(place, directory)
    try:
        scenario(world)
    except Exception as error:
        # Whatever the history met: without a mutant it fails the test that asks.
        world.findings.broken.append(f"{type(error).__name__}: {error}")
    finally:
        world.close()
    return world.findings.all


def caught(place: Place, directory: Path, mutant: Mutant) -> list[str]:
    """What gives the mutant away; nothing: it lives."""
    with mutant.patch():
        return played(place, directory, mutant.caught_by)
