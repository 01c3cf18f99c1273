"""What `make bench` runs for which variables, and what it takes for dirty."""

from pathlib import Path

import pytest

from benchmarks.images.cases import choose
from benchmarks.images.dirty_writes import Dirty, Write, differences, dirty_of
from benchmarks.images.measured import CASES, FOLDER, RGW

MIB = 1 << 20


def test_without_variables_everything_runs() -> None:
    choice = choose({})
    assert choice.cases == CASES
    assert choice.extras == ("worker_peak", "controller_idle")
    assert dict(choice.rounds) == {RGW: 2, FOLDER: 1}
    assert choice.restored == "next_day"


def test_a_case_brings_what_it_needs() -> None:
    choice = choose({"CASES": "rewritten", "ONLY": RGW, "ROUNDS": "2"})
    assert [step.case for step in choice.steps] == ["full", "clone", "next_day", "rewritten"]
    assert (choice.extras, dict(choice.rounds)) == ((), {RGW: 2})


def test_a_restore_without_the_next_day_is_of_the_newest() -> None:
    assert choose({"CASES": "full"}).restored == "full"


@pytest.mark.parametrize("variables", [{"CASES": "ful"}, {"ONLY": "s3"}, {"ROUNDS": "0"}, {"ROUNDS": "-1"}])
def test_a_wrong_variable_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(variables))):
        choose(variables)


def test_differences_are_whole_blocks_and_neighbours_are_one(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for path in (before, after):
        with open(path, "wb") as file:
            file.truncate(64 * MIB)
    with open(after, "r+b") as file:
        for offset, length in ((4095, 2), (40 * MIB, 8192), (64 * MIB - 1, 1)):
            file.seek(offset)
            file.write(b"x" * length)
    assert differences(before, after) == [Write(0, 8192), Write(40 * MIB, 8192), Write(64 * MIB - 4096, 4096)]


def test_what_was_zeroed_differs_too(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(b"y" * 16 * MIB)
    with open(after, "wb") as file:
        file.truncate(16 * MIB)
    assert differences(before, after) == [Write(0, 16 * MIB)]


def test_dirty_bytes_are_whole_pieces_of_the_bitmap() -> None:
    writes = [Write(65_536 - 4096, 8192), Write(10 * 65_536, 4096), Write(10 * 65_536 + 8192, 4096)]
    assert dirty_of(writes) == Dirty(bytes=3 * 65_536, extents=2)
