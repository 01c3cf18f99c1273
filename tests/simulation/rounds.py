"""One seed: the fleet begins, runs under faults, is left in peace, and is looked at."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from seawall.controller.records.runs import RunState

from .faults import Faults
from .liveness import Liveness
from .logs import listen
from .loop import SimulatedLoop, simulate
from .seams import planted
from .template import Template
from .watching import watching
from .world import Size, World

SETTLE_SECONDS = 90.0
CALM_SECONDS = 2400.0
LOOK_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """Of one seed. `history` is given where something is wrong."""

    seed: str
    problems: tuple[str, ...]
    seconds: float
    runs: int
    points: int
    trace: str
    figures: dict[str, int]
    history: tuple[str, ...] = ()


def play(
    template: Template,
    seed: str,
    size: Size,
    *,
    keep_history: bool = False,
    often: tuple[str, ...] = (),
    impatient: bool = False,
) -> Outcome:
    """Deterministic: the arguments decide everything. `often`: faults that are more frequent. `impatient`: ends at the first problem."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="seed-", dir=template.directory) as directory:
        with planted(seed, template.cluster_id), watching():

            async def main(loop: SimulatedLoop) -> None:
                world = World(template, Path(directory), seed, size, loop)
                deaf = listen(world.problem)
                try:
                    await _until_found(world, often) if impatient else await _played(world, often)
                finally:
                    deaf()
                    found.append(_outcome(world, keep_history))
                    await _ended(world)

            simulate(main)
    return found[0]


async def _until_found(world: World, often: tuple[str, ...]) -> None:
    playing = asyncio.ensure_future(_played(world, often))
    finding = asyncio.ensure_future(world.found.wait())
    await asyncio.wait({playing, finding}, return_when=asyncio.FIRST_COMPLETED)
    finding.cancel()
    if playing.done():
        await playing
    playing.cancel()


async def _played(world: World, often: tuple[str, ...]) -> None:
    size = world.size
    world.start()
    liveness = Liveness(world)
    looking = asyncio.ensure_future(_look(liveness))
    writing = asyncio.ensure_future(_write(world))
    await asyncio.sleep(SETTLE_SECONDS)
    await world.operator.apply(minutes=size.every_minutes)
    faults = Faults(world, often)
    await faults.run_until(world.now + size.seconds)
    await faults.heal()
    await world.operator.settle()
    end = world.now + CALM_SECONDS
    while world.now < end and world.invariants.shadow.open():
        await asyncio.sleep(LOOK_SECONDS)
    looking.cancel()
    writing.cancel()
    liveness.at_the_end()


async def _look(liveness: Liveness) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        liveness.look()


async def _write(world: World) -> None:
    rng = world.rng("guests")
    while True:
        await asyncio.sleep(rng.uniform(60.0, 180.0))
        world.write_disks(rng)


async def _ended(world: World) -> None:
    for machine in world.machines:
        machine.process.kill()
    for _ in range(20):
        await asyncio.sleep(0)
    world.database.close()


def _outcome(world: World, keep_history: bool) -> Outcome:
    runs = list(world.invariants.shadow.runs.values())
    figures = {state.value.lower(): sum(1 for run in runs if run.state is state) for state in RunState}
    figures |= {
        "restores": world.truth.restores,
        "answered": world.operator.answered,
        "refused": world.operator.refused,
    }
    return Outcome(
        world.seed,
        tuple(world.problems),
        world.now,
        len(runs),
        world.invariants.published,
        world.trace,
        figures,
        tuple(world.history) if world.problems or keep_history else (),
    )
