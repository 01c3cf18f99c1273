"""`make simulate`: random fleets by seed, then the mutants; writes build/simulation.json. Ends with 1 when anything is wrong."""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .logs import set_up
from .mutants import MOST_SEEDS, MUTANTS, Mutant
from .rounds import Outcome, play
from .saved import SAVED
from .template import Template, made_template
from .world import Size

RESULT = Path(__file__).resolve().parents[2] / "build" / "simulation.json"
LAST_LINES = 60
HASH_SEED = "PYTHONHASHSEED"


@dataclass
class Result:
    """What is written down."""

    outcomes: list[Outcome] = field(default_factory=list)
    planted: int = 0
    caught: int = 0

    def as_json(self) -> dict[str, object]:
        return {
            "seeds": len(self.outcomes),
            "simulated_hours": round(sum(one.seconds for one in self.outcomes) / 3600, 2),
            "runs": sum(one.runs for one in self.outcomes),
            "points": sum(one.points for one in self.outcomes),
            "violations": sum(len(one.problems) for one in self.outcomes),
            "failing_seeds": [one.seed for one in self.outcomes if one.problems],
            "mutants": {"planted": self.planted, "caught": self.caught},
        }

    @property
    def good(self) -> bool:
        return not any(one.problems for one in self.outcomes) and self.planted == self.caught


@contextmanager
def workshop() -> Iterator[Template]:
    """What all worlds begin with, in memory where the machine has such a file system."""
    set_up()
    shared = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="seawall-simulation-", dir=shared if shared.is_dir() else None))
    try:
        yield made_template(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> int:
    if os.environ.get(HASH_SEED) != "0":
        # Sets of strings are walked in the same order only then, and a seed must mean the same in every process.
        os.execve(sys.executable, [sys.executable, *_again(arguments)], os.environ | {HASH_SEED: "0"})
    options = _options(arguments)
    size = Size(options.agents, options.vms, options.hours * 3600.0)
    result = Result()
    with workshop() as template:
        for seed in _seeds(options):
            result.outcomes.append(_played(template, seed, size, options))
        for mutant in () if options.no_mutants else MUTANTS:
            result.planted += 1
            result.caught += _caught(template, mutant, Size())
    options.result.parent.mkdir(exist_ok=True)
    options.result.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    print(json.dumps(result.as_json()))
    return 0 if result.good else 1


def _again(arguments: list[str]) -> list[str]:
    return ["-m", "tests.simulation", *arguments]


def _options(arguments: list[str]) -> argparse.Namespace:
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", default="1", help="the first one; with --seeds 1 it is replayed")
    parser.add_argument("--agents", type=int, default=usual.agents)
    parser.add_argument("--vms", type=int, default=usual.vms)
    parser.add_argument(
        "--hours", type=float, default=usual.seconds / 3600, help="with faults; a calm at the end comes on top"
    )
    parser.add_argument("--history", action="store_true", help="print what happened")
    parser.add_argument("--saved", action="store_true", help="the seeds that once found something, too")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--result", type=Path, default=RESULT)
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace) -> list[str]:
    first = int(options.seed)
    seeds = [str(number) for number in range(first, first + options.seeds)]
    return list(dict.fromkeys([*(SAVED if options.saved else ()), *seeds]))


def _played(template: Template, seed: str, size: Size, options: argparse.Namespace) -> Outcome:
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    outcome = play(template, seed, size, keep_history=options.history)
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun
    print(
        f"seed {seed}: {outcome.seconds / 60:.0f} min simulated, {outcome.runs} runs, {outcome.points} points, "
        f"trace {outcome.trace}, {cpu:.1f} s of processor",
        flush=True,
    )
    if options.history or outcome.problems:
        print("\n".join(outcome.history if options.history else outcome.history[-LAST_LINES:]))
    for problem in outcome.problems:
        print(f"  VIOLATED: {problem}")
    if outcome.problems:
        print(
            f"  replay: make simulate SEEDS=1 SEED={seed}  (python -m tests.simulation --seeds 1 --seed {seed} "
            f"--agents {size.agents} --vms {size.vms} --hours {size.seconds / 3600:g} --history --no-mutants)",
            flush=True,
        )
    return replace(outcome, history=())


def _caught(template: Template, mutant: Mutant, size: Size) -> bool:
    found = first_catch(template, mutant, size)
    how = f"seed {found.seed}: {found.problems[0]}" if found else f"NOT CAUGHT in {MOST_SEEDS} seeds"
    print(f"mutant '{mutant.rule}': {how}", flush=True)
    return found is not None


def first_catch(template: Template, mutant: Mutant, size: Size, seeds: int = MOST_SEEDS) -> Outcome | None:
    """The first of a few seeds in which something is wrong with the mutant, and nothing without it under the same faults."""
    for seed in range(1, seeds + 1):
        with mutant.patch():
            outcome = play(template, str(seed), size, often=mutant.often, impatient=True)
        if outcome.problems and not play(template, str(seed), size, often=mutant.often).problems:
            return outcome
    return None
