"""Any order of backups, hand-ins, deletions, collections, crashes, late and lost requests, and leaders that were replaced."""

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from .bucket import HONEST, Died
from .place import Place, made_place
from .world import VMS, World

SEEDS = st.integers(0, 1 << 16)
PLANS = st.dictionaries(st.integers(0, 40), st.sampled_from(HONEST), max_size=3)


class Fleet(RuleBasedStateMachine):
    """The truth is the world's: what was acknowledged, with its bytes, and what somebody asked to forget."""

    place: ClassVar[Place]
    world: World

    @initialize()
    def begin(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="seawall-machine-"))
        self.world = World(self.place, self._directory / "world")

    @rule(vm_id=st.sampled_from(VMS), seed=SEEDS, how=st.sampled_from(["full", "compare"]), stale=st.booleans())
    def backup(self, vm_id: str, seed: int, how: str, stale: bool) -> None:
        """Up to its hand-in. `stale`: its lookups answer from everything that was ever stored."""
        self.world.change(vm_id, random.Random(seed))
        self._unless_dead(lambda: self.world.begin(vm_id, how, stale))

    @rule(vm_id=st.sampled_from(VMS), seed=SEEDS)
    def backup_with_late_puts(self, vm_id: str, seed: int) -> None:
        self.world.change(vm_id, random.Random(seed))
        self._unless_dead(lambda: self.world.begin(vm_id, "full", late_packs=3))

    @rule(number=SEEDS, answer_lost=st.booleans())
    def complete(self, number: int, answer_lost: bool) -> None:
        if self.world.waiting:
            attempted = self.world.waiting[number % len(self.world.waiting)]
            for _ in range(1 + answer_lost):
                self._unless_dead(lambda: self.world.complete(attempted))

    @rule(number=SEEDS)
    def forget(self, number: int) -> None:
        points = self.world.available()
        if points:
            self._unless_dead(lambda: self.world.forget(points[number % len(points)]))

    @rule()
    def collect(self) -> None:
        self._unless_dead(self.world.collect)

    @rule(step=st.sampled_from(["marked", "condemned", "announced", "given up", "reserved"]), number=SEEDS)
    def collect_while_a_hand_in_comes(self, step: str, number: int) -> None:
        def come(name: str) -> None:
            if name == step and self.world.waiting:
                self.world.interrupt = lambda name: None
                self.world.complete(self.world.waiting[number % len(self.world.waiting)])

        self.world.interrupt = come
        self._unless_dead(self.world.collect)
        self.world.interrupt = lambda name: None

    @rule()
    def finish(self) -> None:
        self._unless_dead(self.world.finish)

    @rule(plan=PLANS)
    def crash_and_restart(self, plan: dict[int, object]) -> None:
        self.world.restart(plan)  # type: ignore[arg-type]

    @rule(number=SEEDS)
    def late_request(self, number: int) -> None:
        if self.world.bucket.late:
            self.world.bucket.arrive(number % len(self.world.bucket.late))

    @rule(plan=PLANS)
    def second_leader(self, plan: dict[int, object]) -> None:
        self.world.replace_leader(plan, rolled_back=False)  # type: ignore[arg-type]

    @rule()
    def snapshot(self) -> None:
        self.world.snapshot()

    @rule()
    def roll_back(self) -> None:
        if self.world.old_state is not None:
            self.world.replace_leader({}, rolled_back=True)

    @rule(number=SEEDS)
    def first_leader_goes_on(self, number: int) -> None:
        zombie = self.world.zombie
        if zombie is None:
            return
        try:
            self.world.collect(zombie)
            if self.world.waiting:
                self.world.complete(self.world.waiting[number % len(self.world.waiting)], zombie)
        except Died:
            self.world.end_zombie()

    @invariant()
    def every_point_restores(self) -> None:
        self.world.check()
        assert not self.world.findings.all, (self.world.findings.all, self.world.history)

    def teardown(self) -> None:
        try:
            self.world.settle()
            assert not self.world.findings.all, (self.world.findings.all, self.world.history)
        finally:
            self.world.close()
            shutil.rmtree(self._directory)

    def _unless_dead(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Died:
            self.world.restart({})


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> None:
    Fleet.place = made_place(tmp_path_factory.mktemp("place"))


def searched(examples: int, steps: int) -> None:
    every = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Fleet,
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=every),
    )


def test_no_order_of_events_loses_a_point() -> None:
    searched(examples=4, steps=12)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_longer_order_of_events_loses_a_point() -> None:
    searched(examples=60, steps=40)
