"""A round: a random history from a seed, then peace, then the look at what is left. The same seed makes the same history."""

import random
from collections.abc import Callable
from pathlib import Path

from .bucket import HONEST, Died, Fault
from .place import Place
from .scenario_words import TWO, a_backup, dead_data, half_dead
from .world import VMS, World

ACTIONS = 24
RECALLED = 0.4
"""Of the backups: of a disk that was backed up before, so that its data is shared, or dead and not collected yet."""
PREPARED = 0.7
"""Of the rounds: do not begin with nothing."""
COMMITTING = ("intent", "refmap", "manifest")


def play(place: Place, directory: Path, seed: str, *, rollbacks: bool = True) -> World:
    """Raises nothing that the product raises; what is wrong stands in the world's findings."""
    rng = random.Random(seed)
    world = World(place, directory)
    try:
        Round(world, rng, rollbacks).play()
        world.settle()
    except Exception as error:
        # The top of a round: whatever it is, it must be found and its seed printed.
        world.findings.broken.append(f"{type(error).__name__}: {error}")
    finally:
        world.close()
    return world


class Round:
    """What may happen, and what is chosen of it."""

    def __init__(self, world: World, rng: random.Random, rollbacks: bool) -> None:
        self.world = world
        self.rng = rng
        self._depth = 0
        self._rollbacks = rollbacks
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (6, self._backup),
            (4, self._begin),
            (5, self._complete),
            (1, self._abandon),
            (4, self._forget),
            (4, self._forget_and_begin_again),
            (6, self._collect),
            (3, self._finish),
            (2, self._arrive),
            (2, self._restart),
            (1, self._second_leader),
            (2, self._zombie_acts),
            (1, self.world.snapshot),
        ]
        if rollbacks:
            self._actions.append((1, self._roll_back))

    def play(self) -> None:
        if self.rng.random() < PREPARED:
            self._prepare()
        self.world.interrupt = self._interrupted
        for _ in range(ACTIONS):
            self._one()
            self.world.check()

    def _prepare(self) -> None:
        """Dead data, and a backup under way that its lookups gave it: most of what may go wrong concerns such."""
        self.rng.choice([dead_data, half_dead])(self.world)
        if self.rng.random() < 0.5:
            self.world.snapshot()
        a_backup(self.world, TWO)

    def _one(self) -> None:
        weights = [weight for weight, _ in self._actions]
        action = self.rng.choices([action for _, action in self._actions], weights)[0]
        self.world.note(action.__name__.strip("_"))
        try:
            action()
        except Died:
            self.world.note("the controller died")
            self.world.restart(self._plan())

    def _interrupted(self, name: str) -> None:
        """Between two durable steps of a controller other things happen, or it dies."""
        if self._depth or self.rng.random() > 0.2:
            return
        if self.rng.random() < 0.3:
            self.world.note(f"it dies after {name}")
            self.world.controller.line.dead = True
            raise Died
        self._depth += 1
        try:
            self.world.note(f"after {name}:")
            self.rng.choice(self._between(name))()
        finally:
            self._depth -= 1

    def _between(self, step: str) -> list[Callable[[], None]]:
        """What may come after that step. Within a publication also a collection, of this leader or of its successor."""
        others = [self._complete, self._complete, self._begin, self._arrive, self._forget]
        return [*others, self._collect, self._collect, self._replaced_and_collected] if step in COMMITTING else others

    def _replaced_and_collected(self) -> None:
        self.world.replace_leader({}, rolled_back=self._rollbacks and self.rng.random() < 0.5)
        self.world.collect()
        self.world.collect()

    def _plan(self) -> dict[int, Fault]:
        if self.rng.random() < 0.4:
            return {}
        return {self.rng.randint(0, 40): self.rng.choice(HONEST) for _ in range(self.rng.randint(1, 4))}

    def _begin(self) -> None:
        vm_id = self.rng.choice(VMS)
        if self.rng.random() < RECALLED:
            self.world.recall(vm_id, self.rng)
        else:
            self.world.change(vm_id, self.rng)
        stale, late = self.rng.random() < 0.4, self.rng.choice([0, 0, 0, 2])
        self.world.begin(vm_id, self.rng.choice(["full", "full", "compare"]), stale, late)

    def _backup(self) -> None:
        self._begin()
        self._complete()

    def _complete(self) -> None:
        if self.world.waiting:
            attempted = self.rng.choice(self.world.waiting)
            self.world.complete(attempted)
            if self.rng.random() < 0.3:  # the answer was lost
                self.world.complete(attempted)

    def _abandon(self) -> None:
        if self.world.waiting:
            self.world.abandon(self.rng.choice(self.world.waiting))

    def _forget(self) -> None:
        points = self.world.available()
        if points:
            self.world.forget(self.rng.choice(points))

    def _forget_and_begin_again(self) -> None:
        """A backup that its lookups gave what just died: what a collection must not take."""
        self._forget()
        self._finish()
        vm_id = self.rng.choice(VMS)
        self.world.recall(vm_id, self.rng)
        self.world.begin(vm_id, "full")

    def _collect(self) -> None:
        self.world.collect()

    def _finish(self) -> None:
        self.world.finish()

    def _arrive(self) -> None:
        if self.world.bucket.late:
            self.world.bucket.arrive(self.rng.randrange(len(self.world.bucket.late)))

    def _restart(self) -> None:
        self.world.restart(self._plan())

    def _second_leader(self) -> None:
        self.world.replace_leader(self._plan(), rolled_back=False)

    def _roll_back(self) -> None:
        if self.world.old_state is not None:
            self.world.replace_leader(self._plan(), rolled_back=True)

    def _zombie_acts(self) -> None:
        """The leader that does not know that it was replaced."""
        zombie = self.world.zombie
        if zombie is None:
            return
        try:
            what = self.rng.choice(["complete", "collect", "forget", "ends"])
            if what == "complete" and self.world.waiting:
                self.world.complete(self.rng.choice(self.world.waiting), zombie)
            elif what == "collect":
                self.world.collect(zombie)
            elif what == "forget" and self.world.truth.kept:
                self.world.forget(self.rng.choice(self.world.truth.kept), zombie)
            elif what == "ends":
                self.world.end_zombie()
        except Died:
            self.world.end_zombie()
