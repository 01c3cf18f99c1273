"""Whatever step was the last of writer, committer, collector or compactor: every point restores, and in the end nothing is left."""

from pathlib import Path

import pytest

from .place import Place, made_place
from .stepping import Stop, stepped

EVERY = 21
"""Of the steps that `make test` stops at; `make test-slow` stops at each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made_place(tmp_path_factory.mktemp("place"))


def stops(place: Place, directory: Path) -> list[Stop]:
    world, counted = stepped(place, directory, Stop())
    assert not world.findings.all
    for step in ("intent", "manifest", "condemned", "announced", "pack removed", "compacted", "old generation removed"):
        assert step in counted.controller, counted.controller
    assert {"sealed", "put", "reported", "handed in"} <= set(counted.host)
    return [
        *(Stop(controller=number) for number in range(len(counted.controller))),
        *(Stop(host=number) for number in range(len(counted.host))),
        *(Stop(request=number, before=before) for number in range(counted.requests) for before in (True, False)),
    ]


def stop_at(place: Place, tmp_path: Path, chosen: list[Stop]) -> None:
    for number, stop in enumerate(chosen):
        world, _ = stepped(place, tmp_path / str(number), stop)
        assert not world.findings.all, (stop, world.findings.all, world.history)


def test_a_stop_at_some_steps(place: Place, tmp_path: Path) -> None:
    every = stops(place, tmp_path / "first")
    assert len(every) > 60
    stop_at(place, tmp_path, every[::EVERY])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_stop_at_every_step(place: Place, tmp_path: Path) -> None:
    stop_at(place, tmp_path, stops(place, tmp_path / "first"))
