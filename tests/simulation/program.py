"""`make simulate`: random fleets by seed, then the mutants; writes build/simulation.json. Ends with 1 when anything is wrong."""

import argparse
import gc
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .logs import set_up
from .mutants import MOST_SEEDS, MUTANTS, Mutant
from .rounds import Outcome, play
from .saved import SAVED
from .seams import seeded
from .sizes import LARGE, OF_MUTANTS, Size
from .template import Template, made_template
from .world import World

RESULT = Path(__file__).resolve().parents[2] / "build" / "simulation.json"
LAST_LINES = 60
UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HASH_SEED = "PYTHONHASHSEED"
RARELY = (50_000, 20, 50)
"""Collections of garbage: a fleet is millions of objects that stay."""


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
            "looked_at": dict(sum((Counter(one.looked_at) for one in self.outcomes), Counter())),
            "ended_early": [one.seed for one in self.outcomes if one.ended_early],
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
        with seeded("template"):
            template = made_template(directory)
        yield template
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> int:
    if os.environ.get(HASH_SEED) != "0":
        # Sets of strings are walked in the same order only then, and a seed must mean the same in every process.
        os.execve(sys.executable, [sys.executable, *_again(arguments)], os.environ | {HASH_SEED: "0"})
    gc.set_threshold(*RARELY)
    options = _options(arguments)
    enough = _once_terminated()
    result = Result()
    with workshop() as template:
        for seed, often in _seeds(options).items():
            if not enough():
                result.outcomes.append(_played(template, seed, often, options, enough))
        for mutant in () if options.no_mutants else MUTANTS:
            if not enough():
                result.planted += 1
                result.caught += _caught(template, mutant, OF_MUTANTS)
    options.result.parent.mkdir(exist_ok=True)
    options.result.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    print(json.dumps(result.as_json()))
    return 0 if result.good else 1


def _once_terminated() -> Callable[[], bool]:
    """Whether SIGTERM came: a long run then ends, and says what it has."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    return lambda: bool(told)


def _again(arguments: list[str]) -> list[str]:
    return ["-m", "tests.simulation", *arguments]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", default="1", help="the first one; with --seeds 1 it is replayed")
    parser.add_argument("--large", action="store_true", help="1,000 agents, 20,000 VMs, 24 hours, but for what is said")
    parser.add_argument("--agents", type=int)
    parser.add_argument("--vms", type=int)
    parser.add_argument("--hours", type=float, help="with faults; a calm at the end comes on top")
    parser.add_argument("--history", action="store_true", help="print what happened")
    parser.add_argument("--saved", action="store_true", help="the seeds that once found something, too")
    parser.add_argument(
        "--often", action="append", default=[], help="a kind of fault (faults.py) that is more frequent"
    )
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument("--result", type=Path, default=RESULT)
    return parser.parse_args(arguments)


def _size(options: argparse.Namespace) -> Size:
    usual = LARGE if options.large else Size()
    seconds = usual.seconds if options.hours is None else options.hours * 3600.0
    return replace(usual, agents=options.agents or usual.agents, vms=options.vms or usual.vms, seconds=seconds)


def _seeds(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Seed -> faults that are more frequent in it."""
    first = int(options.seed)
    seeds = {str(number): tuple(options.often) for number in range(first, first + options.seeds)}
    return seeds | ({seed: each.often for seed, each in SAVED.items()} if options.saved else {})


def _played(
    template: Template, seed: str, often: tuple[str, ...], options: argparse.Namespace, enough: Callable[[], bool]
) -> Outcome:
    begun, size = resource.getrusage(resource.RUSAGE_SELF).ru_utime, _size(options)
    tell = _told if options.large else None
    outcome = play(template, seed, size, keep_history=options.history, often=often, tell=tell, enough=enough)
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun
    looked = outcome.looked_at
    print(
        f"seed {seed}{', ended early' if outcome.ended_early else ''}: {outcome.seconds / 60:.0f} min simulated, {outcome.runs} runs, "
        f"{outcome.points} points, {looked['commit']} commits looked at, {looked['point read back']} points read back, "
        f"trace {outcome.trace}, {cpu:.1f} s of processor",
        flush=True,
    )
    if options.history or outcome.problems:
        print("\n".join(outcome.history if options.history else told_of(outcome.problems, outcome.history)))
    for problem in outcome.problems:
        print(f"  VIOLATED: {problem}")
    if outcome.problems:
        fleet = f"--agents {size.agents} --vms {size.vms} --hours {size.seconds / 3600:g}"
        fleet += "".join(f" --often {kind}" for kind in often)
        print(
            f"  replay: make simulate SEEDS=1 SEED={seed}  (python -m tests.simulation --seeds 1 --seed {seed} "
            f"{'--large ' if options.large else ''}{fleet} --history --no-mutants)",
            flush=True,
        )
    return replace(outcome, history=())


def told_of(problems: Sequence[str], history: Sequence[str]) -> list[str]:
    """The last lines, and before them those that name what a problem names: in a long run it may lie hours back."""
    named = {each for problem in problems for each in UUID_TEXT.findall(problem)}
    earlier = history[:-LAST_LINES]
    return [line for line in earlier if not named.isdisjoint(UUID_TEXT.findall(line))] + list(history[-LAST_LINES:])


def _told(world: World) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{world.now / 3600:.1f} h: {len(world.invariants.shadow.runs)} runs, {world.invariants.published} points, "
        f"{len(world.problems)} violations, {used.ru_utime + used.ru_stime:.0f} s of processor, {used.ru_maxrss >> 10} MiB",
        flush=True,
    )


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
