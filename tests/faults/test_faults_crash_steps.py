"""Whatever step was the last of writer, committer, collector or compactor: every point restores, and in the end nothing is left."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from .place import Place, made_place
from .stepping import Stop, stepped

EVERY = 24
"""Of the changes of the bucket that `make test` stops before or after; `make test-slow` stops at each."""

COMMITTER_STEPS = {"intent", "refmap", "manifest", "available"}
DELETION_STEPS = {"decided", "buried", "deleted"}
COLLECTOR_STEPS = {
    "marked",
    "condemned",
    "announced",
    "pack removed",
    "removal told",
    "given up",
    "sweep announced",
    "swept",
}
TRIMMER_STEPS = {"trimming announced", "trimmed"}
COMPACTOR_STEPS = {"reserved", "generation written", "generation read back", "compacted", "old generation removed"}
CONTROLLER_STEPS = COMMITTER_STEPS | DELETION_STEPS | COLLECTOR_STEPS | TRIMMER_STEPS | COMPACTOR_STEPS
HOST_STEPS = {"sealed", "put", "reported", "handed in"}
"""The writer's. A step of another name is to be added here: then it is stopped at."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made_place(tmp_path_factory.mktemp("place"))


@dataclass(frozen=True)
class Stops:
    """All that the history has, by what stops. `controller`, `host`: with the step's name."""

    controller: list[tuple[str, Stop]]
    host: list[tuple[str, Stop]]
    requests: list[Stop]

    @property
    def all(self) -> list[Stop]:
        return [*(stop for _, stop in [*self.controller, *self.host]), *self.requests]

    @property
    def one_of_each(self) -> list[Stop]:
        """After the last step of each name, when most is at stake, and some of the changes of the bucket."""
        named = [*dict(self.controller).values(), *dict(self.host).values()]
        return [*named, *self.requests[::EVERY]]


def stops(place: Place, directory: Path) -> Stops:
    world, counted = stepped(place, directory, Stop())
    assert not world.findings.all
    assert set(counted.controller) == CONTROLLER_STEPS
    assert set(counted.host) == HOST_STEPS
    return Stops(
        [(name, Stop(controller=number)) for number, name in enumerate(counted.controller)],
        [(name, Stop(host=number)) for number, name in enumerate(counted.host)],
        [Stop(request=number, before=before) for number in range(counted.requests) for before in (True, False)],
    )


def stop_at(place: Place, tmp_path: Path, chosen: list[Stop]) -> None:
    for number, stop in enumerate(chosen):
        world, _ = stepped(place, tmp_path / str(number), stop)
        assert not world.findings.all, (stop, world.findings.all, world.history)


def test_a_stop_at_one_step_of_each_name(place: Place, tmp_path: Path) -> None:
    every = stops(place, tmp_path / "first")
    assert len(every.all) > 60
    stop_at(place, tmp_path, every.one_of_each)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_stop_at_every_step(place: Place, tmp_path: Path) -> None:
    stop_at(place, tmp_path, stops(place, tmp_path / "first").all)
