"""The Hypothesis machine: any order of backups, hand-ins, deletions, collections, crashes, late and lost requests, replaced leaders.

It begins where something is at stake: a point, half of whose packs are dead, a database of before that may come back, and a backup that
was given what is dead by its lookups and is not handed in. What it did is counted, so that a test can ask that it did all of it: a machine
that never hands anything in finds nothing, and says so of everything.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .bucket import HONEST, Died, Fault
from .place import Place
from .scenario_words import TWO, a_backup, forget_and_finish, half_dead
from .world import VMS, World, disk_of

SEEDS = st.integers(0, 1 << 16)
PLANS = st.dictionaries(st.integers(0, 40), st.sampled_from(HONEST), max_size=3)
HOURS_LATER = 2 * 3600.0
COMMITTING = ("intent", "refmap", "manifest")
COLLECTING = (
    "marked",
    "condemned",
    "announced",
    "pack removed",
    "given up",
    "reserved",
    "generation written",
    "compacted",
)


class FleetMachine(RuleBasedStateMachine):
    """The truth is the world's: what was acknowledged or is shown, with its bytes, and what somebody asked to forget."""

    place: ClassVar[Place]
    done: ClassVar[Counter[str]]
    """Of all examples, without the peace at the end of each."""

    world: World

    @initialize()
    def begin(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="seawall-machine-"))
        self.world = World(self.place, self._directory / "world")
        half_dead(self.world)
        self.world.snapshot()
        a_backup(self.world, TWO)

    def _idle(self) -> list[str]:
        busy = {one.vm_id for one in self.world.waiting}
        return [vm_id for vm_id in VMS if vm_id not in busy]

    @precondition(lambda self: self._idle())
    @rule(seed=SEEDS, how=st.sampled_from(["full", "compare"]), recalled=st.booleans(), stale=st.booleans())
    def back_up(self, seed: int, how: str, recalled: bool, stale: bool) -> None:
        """To the end. `stale`: its lookups answer from everything that was ever stored; `recalled`: of data that was there before."""
        vm_id = self._changed(seed, recalled)

        def whole() -> None:
            begun = self.world.begin(vm_id, how, stale)
            if begun is not None:
                self.world.complete(begun)

        self._unless_dead(whole)

    @precondition(lambda self: self._idle())
    @rule(seed=SEEDS, recalled=st.booleans(), late_packs=st.sampled_from([0, 3]))
    def begin_backup(self, seed: int, recalled: bool, late_packs: int) -> None:
        """Up to its hand-in."""
        vm_id = self._changed(seed, recalled)
        self._unless_dead(lambda: self.world.begin(vm_id, "full", late_packs=late_packs))

    @precondition(lambda self: self.world.waiting)
    @rule(number=SEEDS, answer_lost=st.booleans())
    def complete(self, number: int, answer_lost: bool) -> None:
        attempted = self.world.waiting[number % len(self.world.waiting)]
        for _ in range(1 + answer_lost):
            self._unless_dead(lambda: self.world.complete(attempted))

    @precondition(lambda self: self.world.waiting)
    @rule(step=st.sampled_from(("intent", *COMMITTING)), number=SEEDS, twice=st.booleans())
    def complete_while_collected(self, step: str, number: int, twice: bool) -> None:
        attempted = self.world.waiting[number % len(self.world.waiting)]
        self._once(step, lambda: [self.world.collect() for _ in range(1 + twice)])
        self._unless_dead(lambda: self.world.complete(attempted))

    @precondition(lambda self: self.world.waiting)
    @rule(step=st.sampled_from(COMMITTING), number=SEEDS, rolled_back=st.booleans())
    def complete_while_replaced(self, step: str, number: int, rolled_back: bool) -> None:
        """The next leader collects twice before the one of before goes on."""
        attempted, first = self.world.waiting[number % len(self.world.waiting)], self.world.controller
        self._once(step, lambda: self._replaced({}, rolled_back, collecting=True))
        self._unless_dead(lambda: self.world.complete(attempted, first))

    @precondition(lambda self: self.world.available())
    @rule(number=SEEDS, finished=st.booleans())
    def forget(self, number: int, finished: bool) -> None:
        points = self.world.available()
        self._unless_dead(lambda: self.world.forget(points[number % len(points)]))
        if finished:
            self._unless_dead(self.world.finish)

    @precondition(lambda self: self._idle() and self.world.available())
    @rule(number=SEEDS)
    def forget_what_is_backed_up_again(self, number: int) -> None:
        """A backup that was given by its lookups what nobody else needs any more, and is not handed in: what collection must not take."""
        vm_id, points = self._idle()[0], self.world.available()
        point_id = points[number % len(points)]
        self._unless_dead(lambda: forget_and_finish(self.world, point_id))
        if point_id in self.world.truth.contents:
            self.world.disks[vm_id] = disk_of(self.world.truth.contents[point_id][1])
        self._unless_dead(lambda: self.world.begin(vm_id, "full"))

    @rule(later=st.booleans())
    def collect(self, later: bool) -> None:
        if later:
            self.world.clock.advance(HOURS_LATER)
        self._unless_dead(self.world.collect)

    @precondition(lambda self: self.world.waiting)
    @rule(step=st.sampled_from(("marked", *COLLECTING)), number=SEEDS)
    def collect_while_a_hand_in_comes(self, step: str, number: int) -> None:
        attempted = self.world.waiting[number % len(self.world.waiting)]
        self._once(step, lambda: self.world.complete(attempted))
        self._unless_dead(self.world.collect)

    @rule(
        step=st.sampled_from(COLLECTING),
        fault=st.sampled_from([Fault.STOP_AFTER, Fault.LATE_STOP, Fault.LATE, Fault.TWICE]),
    )
    def collect_with_a_fault(self, step: str, fault: Fault) -> None:
        """Of the next change of the bucket after that step."""

        def plan() -> None:
            line = self.world.controller.line
            line.plan[line.changes] = fault

        self._once(step, plan)
        self._unless_dead(self.world.collect)

    @rule(step=st.sampled_from(COLLECTING), rolled_back=st.booleans(), seed=SEEDS)
    def collect_while_replaced(self, step: str, rolled_back: bool, seed: int) -> None:
        """The next leader makes a point of what was there before, and the one of before goes on with its collection."""
        first = self.world.controller

        def replaced() -> None:
            self._replaced({}, rolled_back)
            self.back_up_recalled(seed)

        self._once(step, replaced)
        self._unless_dead(lambda: self.world.collect(first))

    @rule()
    def finish(self) -> None:
        self._unless_dead(self.world.finish)

    @rule(plan=PLANS)
    def crash_and_restart(self, plan: dict[int, Fault]) -> None:
        self.world.restart(plan)

    @precondition(lambda self: self.world.bucket.late)
    @rule(number=SEEDS)
    def late_request(self, number: int) -> None:
        self.world.bucket.arrive(number % len(self.world.bucket.late))
        self.world.done["late request"] += 1

    @rule()
    def snapshot(self) -> None:
        self.world.snapshot()

    @rule(plan=PLANS, rolled_back=st.booleans(), collecting=st.booleans())
    def second_leader(self, plan: dict[int, Fault], rolled_back: bool, collecting: bool) -> None:
        self._unless_dead(lambda: self._replaced(plan, rolled_back, collecting))

    @rule(collecting=st.booleans())
    def roll_back(self, collecting: bool) -> None:
        self._unless_dead(lambda: self._replaced({}, rolled_back=True, collecting=collecting))

    @precondition(lambda self: self.world.zombie is not None)
    @rule(number=SEEDS, what=st.sampled_from(["collect", "complete", "forget"]))
    def first_leader_goes_on(self, number: int, what: str) -> None:
        zombie = self.world.zombie
        try:
            if what == "collect":
                self.world.collect(zombie)
            elif what == "complete" and self.world.waiting:
                self.world.complete(self.world.waiting[number % len(self.world.waiting)], zombie)
            elif what == "forget" and self.world.truth.kept:
                self.world.forget(self.world.truth.kept[number % len(self.world.truth.kept)], zombie)
        except Died:
            self.world.end_zombie()

    @invariant()
    def every_point_restores(self) -> None:
        self.world.check()
        assert not self.world.findings.all, (self.world.findings.all, self.world.history)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.done.update(self.world.done)
        try:
            if not self.world.findings.all:
                self.world.settle()
            assert not self.world.findings.all, (self.world.findings.all, self.world.history)
        finally:
            self.world.close()
            shutil.rmtree(self._directory)

    def back_up_recalled(self, seed: int) -> None:
        if not self._idle():
            return
        begun = self.world.begin(self._changed(seed, recalled=True), "full")
        if begun is not None:
            self.world.complete(begun)

    def _changed(self, seed: int, recalled: bool) -> str:
        """The VM whose disk it was."""
        rng = random.Random(seed)
        vm_id = rng.choice(self._idle())
        if recalled:
            self.world.recall(vm_id, rng)
        else:
            self.world.change(vm_id, rng)
        return vm_id

    def _replaced(self, plan: dict[int, Fault], rolled_back: bool, collecting: bool = False) -> None:
        self.world.replace_leader(plan, rolled_back=rolled_back)
        for _ in range(2 * collecting):
            self.world.collect()

    def _once(self, step: str, act: Callable[[], object]) -> None:
        """At the first step of that name in what comes next."""

        def come(name: str) -> None:
            if name == step:
                self.world.interrupt = lambda name: None
                act()

        self.world.interrupt = come

    def _unless_dead(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Died:
            self.world.done["died"] += 1
            self.world.restart({})
        finally:
            self.world.interrupt = lambda name: None


def searched(
    place: Place, examples: int, steps: int, *, shrink: bool = True, always_the_same: bool = False
) -> Counter[str]:
    """What was done in all. Raises whatever an example shows, shrunk if asked to. `always_the_same`: whatever the profile says."""
    FleetMachine.place, FleetMachine.done = place, Counter()
    phases = tuple(Phase) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        FleetMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            derandomize=always_the_same or settings().derandomize,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    return FleetMachine.done
