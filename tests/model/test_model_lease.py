"""The lease's model (lease.pml) in spin: it holds, it breaks where something is left out, and it is about the states of the product."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from seawall.controller.records.runs import AttemptState, RunKind, RunState
from support.execution_walk import changes, walk

MODEL = Path(__file__).with_name("lease.pml")
UNMODELLED = {RunState.SUCCEEDED_WITH_WARNINGS, RunState.MISSED, RunState.SKIPPED}
"""Ends that differ from the modelled ones by words alone."""

BROKEN = {
    "NO_FENCE": "current==mine",
    "NUMBER_FENCE": "current==mine",
    "NO_VALIDATION": "swept",
    "NO_RECOVERY": "acknowledged==0",
    "NO_SECOND_LOOK": "swept",
    "SWEEPS_OPEN": "swept",
    "SWEEPS_ON": "swept",
    "NO_TOMBSTONES": "tombstone",
    "LOOK_IF_NOTICED": "swept",
}
"""What is left out, and what then does not hold."""

DEPTH = "200000"


@dataclass(frozen=True)
class Verified:
    violated: str
    """The assertion; "" when all hold."""
    states: int
    unreached: list[str]


def verifier(folder: Path, **sizes: int) -> Path:
    """The model as a program."""
    for tool in ("spin", "gcc"):
        assert shutil.which(tool), f"{tool} is missing: `make setup` installs it"
    defined = [f"-D{name}={value}" for name, value in sizes.items()]
    subprocess.run(["spin", *defined, "-a", str(MODEL)], cwd=folder, check=True, capture_output=True)
    subprocess.run(["gcc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True, capture_output=True)
    return folder / "pan"


def verified(program: Path, variant: str, folder: Path) -> Verified:
    number = re.search(rf"#define {variant}\s+(\d+)", MODEL.read_text())
    assert number, variant
    environment = {**os.environ, "LEASE_VARIANT": number[1]}
    done = subprocess.run(
        [program, f"-m{DEPTH}"], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    states = re.search(r"(\d+) states, stored", done.stdout)
    assert states, done.stdout
    assert "max search depth too small" not in done.stdout
    violated = re.search(r"assertion violated (.*) \(at depth", done.stdout)
    return Verified(violated[1] if violated else "", int(states[1]), re.findall(r', "(.*)"', done.stdout))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verifier(tmp_path_factory.mktemp("lease"))


def test_the_whole_model_holds(program: Path, tmp_path: Path) -> None:
    found = verified(program, "WHOLE", tmp_path)
    assert found.violated == ""
    assert found.states > 600_000
    assert set(found.unreached) <= {"-end-", "(1)", "current = 0"}, "a step that never happens proves nothing"


@pytest.mark.parametrize("variant", BROKEN)
def test_it_breaks_where_something_is_left_out(program: Path, variant: str, tmp_path: Path) -> None:
    assert BROKEN[variant] in verified(program, variant, tmp_path).violated


def test_each_variant_is_tried() -> None:
    variants = set(re.findall(r"^#define (\w+) \d\t", MODEL.read_text(), re.MULTILINE))
    assert variants | {"WHOLE"} >= {*BROKEN, "WHOLE"}
    assert {name for name in variants if name not in ("ATTEMPTS", "COPIES", "ROLLBACKS")} <= {*BROKEN, "WHOLE"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_model_holds_with_more_copies_and_roll_backs(tmp_path: Path) -> None:
    """Tens of millions of states, a few gigabytes of memory: a bit for each (-DBITSTATE) would miss some."""
    program = verifier(tmp_path, ATTEMPTS=3, COPIES=2, ROLLBACKS=3)
    found = verified(program, "WHOLE", tmp_path)
    assert found.violated == "" and found.states > 1_000_000


def test_the_model_speaks_of_the_products_states() -> None:
    named = re.search(r"mtype = \{(.*?)\};", MODEL.read_text(), re.DOTALL)
    assert named
    words = set(re.findall(r"[A-Z]+", re.sub(r"/\*.*?\*/", "", named[1])))
    assert words - {"NONE"} == {*AttemptState.__members__, *(set(RunState.__members__) - UNMODELLED)}


def test_the_model_makes_the_moves_of_the_products_machine_and_no_others() -> None:
    modelled = set(re.findall(r"move\(\w+, ([A-Z]+), ([A-Z]+)\)", MODEL.read_text()))
    _, moves = walk()
    assert modelled == {(before.value, after.value) for before, after in changes(moves, RunKind.BACKUP)}
