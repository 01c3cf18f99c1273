"""One seed: the fleet begins, runs under faults, is left in peace, and is looked at."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seawall.controller.records.runs import RunState

from .faults import Faults
from .liveness import Liveness
from .logs import listen
from .loop import SimulatedLoop, simulate
from .seams import planted
from .sizes import Size
from .template import Template
from .watching import watching
from .world import World

SETTLE_SECONDS = 90.0
FIRST_LOOK_SECONDS = 60.0
"""By then a leader looked at the bucket: what an export says of hosts and limits came back to a database that was put back."""
CALM_SECONDS = 2400.0
LOOK_SECONDS = 30.0
ENOUGH_SECONDS = 5.0
"""Between looks whether it is enough."""
TELL_SECONDS = 1800.0


@dataclass(frozen=True)
class Outcome:
    """Of one seed. `looked_at`: what the invariants saw, by name. `history` is given where something is wrong."""

    seed: str
    problems: tuple[str, ...]
    seconds: float
    runs: int
    points: int
    trace: str
    figures: dict[str, int]
    looked_at: dict[str, int]
    ended_early: bool = False
    history: tuple[str, ...] = ()


def play(
    template: Template,
    seed: str,
    size: Size,
    *,
    keep_history: bool = False,
    often: tuple[str, ...] = (),
    impatient: bool = False,
    tell: Callable[[World], None] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Deterministic: the arguments decide everything. `often`: faults that are more frequent. `impatient`: ends at the first problem.

    `tell` hears of the world every half hour of its time. `enough`: whether to end here and now, with a look at all points.
    """
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="seed-", dir=template.directory) as directory:
        with planted(seed, template.cluster_id, size.pace), watching():

            async def main(loop: SimulatedLoop) -> None:
                world = World(template, Path(directory), seed, size, loop)
                deaf = listen(world.problem)
                telling = asyncio.ensure_future(_tell(world, tell)) if tell else None
                try:
                    await _until(world, often, lambda: enough() or (impatient and bool(world.problems)))
                    if world.ended_early and not impatient:
                        world.truth.check_all()
                finally:
                    deaf()
                    if telling is not None:
                        telling.cancel()
                    found.append(_outcome(world, keep_history))
                    await _ended(world)

            simulate(main)
    return found[0]


async def _tell(world: World, tell: Callable[[World], None]) -> None:
    while True:
        await asyncio.sleep(TELL_SECONDS)
        tell(world)


async def _until(world: World, often: tuple[str, ...], enough: Callable[[], bool]) -> None:
    """Its end, or early when it is `enough`: then it is not left in peace, but what was promised must be there at any time."""
    playing = asyncio.ensure_future(_played(world, often))
    while not playing.done() and not world.ended_early:
        await asyncio.wait({playing}, timeout=ENOUGH_SECONDS)
        world.ended_early = enough() and not playing.done()
    if world.ended_early:
        playing.cancel()
    else:
        await playing


async def _played(world: World, often: tuple[str, ...]) -> None:
    size = world.size
    world.start()
    liveness = Liveness(world)
    looking = asyncio.ensure_future(_look(liveness))
    writing = asyncio.ensure_future(_write(world))
    await asyncio.sleep(SETTLE_SECONDS)
    await world.operator.limit_everything()
    await world.operator.apply(minutes=size.every_minutes)
    faults = Faults(world, often)
    await faults.run_until(world.now + size.seconds)
    await faults.heal()
    world.healed_us = world.clock.now_us()
    await world.operator.settle()
    await asyncio.sleep(FIRST_LOOK_SECONDS)
    await world.operator.settle()
    # What a controller whose clock was ahead put off begins so much later.
    end = world.now + CALM_SECONDS + world.skew_seconds
    while world.now < end and world.unfinished():
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
        dict(world.invariants.looked) | {"point read back": world.truth.read_back},
        world.ended_early,
        tuple(world.history) if world.problems or keep_history else (),
    )
