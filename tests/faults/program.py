"""`make faults`: random rounds from a seed, then the mutants; writes build/faults.json. Ends with 1 when anything is wrong.

Each mutant is caught by the history made for it. How many the rounds catch by themselves, without knowing what to look for, says what the
rounds are worth where no history was made; it is written down and decides nothing.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import structlog

from .mutants import MUTANTS
from .place import Place, made_place
from .planting import caught, played
from .rounds import play

RESULT = Path(__file__).resolve().parents[2] / "build" / "faults.json"
ROUNDS = 300
HUNTS = 8
"""Rounds with each mutant, until one is wrong."""
PROCESSES = 2
ONLY_ERRORS = 50


@dataclass(frozen=True)
class Outcome:
    """Of one round. `history` is empty where nothing is wrong."""

    seed: str
    wrong_bytes: tuple[str, ...] = ()
    lost_points: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    points: int = 0

    @property
    def wrong(self) -> tuple[str, ...]:
        return (*self.wrong_bytes, *self.lost_points, *self.leftovers, *self.broken)


@dataclass
class Result:
    """What is written down."""

    seed: str
    outcomes: list[Outcome] = field(default_factory=list)
    planted: int = 0
    caught: int = 0
    caught_by_rounds: list[str] = field(default_factory=list)
    hunts: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "rounds": len(self.outcomes),
            "seed": self.seed,
            "wrong_bytes": sum(len(one.wrong_bytes) for one in self.outcomes),
            "lost_points": sum(len(one.lost_points) for one in self.outcomes),
            "leftovers": sum(len(one.leftovers) for one in self.outcomes),
            "broken": sum(len(one.broken) for one in self.outcomes),
            "points": sum(one.points for one in self.outcomes),
            "failing_seeds": [one.seed for one in self.outcomes if one.wrong],
            "mutants": {
                "planted": self.planted,
                "caught": self.caught,
                "rounds_each": self.hunts,
                "caught_by_rounds_alone": len(self.caught_by_rounds),
                "rules_caught_by_rounds": self.caught_by_rounds,
            },
        }

    @property
    def good(self) -> bool:
        return not any(one.wrong for one in self.outcomes) and self.planted == self.caught


@contextmanager
def workshop() -> Iterator[tuple[Place, Path]]:
    """A place to begin from, in memory where the machine has such a file system."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(ONLY_ERRORS))
    shared = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="seawall-faults-", dir=shared if shared.is_dir() else None))
    try:
        yield made_place(directory), directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def play_some(seeds: list[str]) -> list[Outcome]:
    """In a process of its own."""
    with workshop() as (place, directory):
        return [play_one(place, directory / f"round-{number}", seed) for number, seed in enumerate(seeds)]


def play_one(place: Place, directory: Path, seed: str) -> Outcome:
    directory.mkdir()
    try:
        world = play(place, directory, seed)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    found = world.findings
    return Outcome(
        seed,
        tuple(found.wrong_bytes),
        tuple(found.lost_points),
        tuple(found.leftovers),
        tuple(found.broken),
        tuple(world.history) if found.all else (),
        len(world.truth.acknowledged),
    )


def plant(result: Result) -> None:
    """Each mutant's history, with and without it."""
    with workshop() as (place, directory):
        for number, mutant in enumerate(MUTANTS):
            result.planted += 1
            innocent = played(place, directory / f"without-{number}", mutant.caught_by)
            guilty = caught(place, directory / f"with-{number}", mutant)
            good = bool(guilty) and not innocent
            result.caught += good
            print(f"{'caught' if good else 'NOT CAUGHT'}: {mutant.rule}: {(guilty or ['nothing is wrong'])[0][:110]}")
            for sentence in innocent:
                print(f"  and without the mutant: {sentence}")


def hunt(number: int, seed: str, rounds: int) -> int:
    """How many rounds it took until one with that mutant was wrong; 0: none was. In a process of its own."""
    with workshop() as (place, directory):
        for tried in range(rounds):
            with MUTANTS[number].patch():
                if play_one(place, directory / f"round-{tried}", f"{seed}/{number}/{tried}").wrong:
                    return tried + 1
    return 0


def hunt_all(pool: ProcessPoolExecutor, result: Result) -> None:
    """What the rounds alone catch."""
    took = pool.map(hunt, range(len(MUTANTS)), repeat(result.seed), repeat(result.hunts))
    for mutant, tried in zip(MUTANTS, took, strict=True):
        if tried:
            result.caught_by_rounds.append(mutant.rule)
        print(f"{f'caught by round {tried}' if tried else f'not caught by {result.hunts} rounds'}: {mutant.rule}")
    print(f"the rounds alone catch {len(result.caught_by_rounds)} of {len(MUTANTS)} mutants")


def tell(outcome: Outcome) -> None:
    print(f"seed {outcome.seed}: {len(outcome.wrong)} things are wrong")
    for sentence in outcome.wrong:
        print(f"  {sentence}")
    for step in outcome.history:
        print(f"    {step}")
    print(f"replay: make faults ROUNDS=1 SEED={outcome.seed}")


def seeds_of(seed: str, rounds: int) -> list[str]:
    """A seed with a round's number in it ("7/12") is that one round."""
    return [seed] if "/" in seed else [f"{seed}/{number}" for number in range(rounds)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", default="1")
    parser.add_argument(
        "--hunts", type=int, default=HUNTS, help="rounds with each mutant; none where one round is replayed"
    )
    chosen = parser.parse_args(arguments)
    began, result = time.monotonic(), Result(chosen.seed, hunts=0 if "/" in chosen.seed else chosen.hunts)
    seeds = seeds_of(chosen.seed, chosen.rounds)
    shares = [seeds[start : start + 5] for start in range(0, len(seeds), 5)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        for outcomes in pool.map(play_some, shares):
            result.outcomes += outcomes
            for outcome in outcomes:
                if outcome.wrong:
                    tell(outcome)
        print(f"{len(seeds)} rounds in {time.monotonic() - began:.0f} s", flush=True)
        if result.hunts:
            hunt_all(pool, result)
            print(f"and the hunt until {time.monotonic() - began:.0f} s", flush=True)
    plant(result)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    print(json.dumps(result.as_json()))
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
