"""A few seeds and all that once found something, a seed that means the same twice, and mutants that are found."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS
from .program import HASH_SEED
from .saved import SAVED

ROOT = Path(__file__).resolve().parents[2]
QUICK_SEEDS = 3
SMALL = ("--agents", "3", "--vms", "9")
CI_SEEDS = 20
TRACE = re.compile(r"trace ([0-9a-f]{32})")


def simulated(
    result: Path, *arguments: str, hash_seed: str = "0", seconds: float = 280.0
) -> tuple[str, dict[str, object]]:
    """What the program printed and wrote. Fails with what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--result", str(result), *arguments],
        cwd=ROOT,
        env=os.environ | {HASH_SEED: hash_seed},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout, json.loads(result.read_text())


def test_no_seed_finds_anything(tmp_path: Path) -> None:
    _, result = simulated(tmp_path / "result.json", "--seeds", str(QUICK_SEEDS), "--saved", "--no-mutants", *SMALL)
    assert result["violations"] == 0
    assert int(str(result["seeds"])) >= max(QUICK_SEEDS, len(SAVED))
    assert int(str(result["runs"])) >= 9 * QUICK_SEEDS
    assert int(str(result["points"])) >= 3 * QUICK_SEEDS


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_seed_of_many_finds_anything(tmp_path: Path) -> None:
    _, result = simulated(tmp_path / "result.json", "--seeds", str(CI_SEEDS), "--no-mutants", seconds=1700.0)
    assert result["violations"] == 0


@pytest.mark.slow
def test_a_seed_means_the_same_in_each_process(tmp_path: Path) -> None:
    one, _ = simulated(tmp_path / "one.json", "--seeds", "2", "--no-mutants", *SMALL)
    two, _ = simulated(tmp_path / "two.json", "--seeds", "2", "--no-mutants", *SMALL, hash_seed="random")
    assert len(TRACE.findall(one)) == 2
    assert TRACE.findall(one) == TRACE.findall(two)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_mutants_are_found(tmp_path: Path) -> None:
    _, result = simulated(tmp_path / "result.json", "--seeds", "0", seconds=1700.0)
    assert result["mutants"] == {"planted": len(MUTANTS), "caught": len(MUTANTS)}
