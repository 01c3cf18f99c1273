"""The failure matrix of controller/DESIGN.md names tests that exist; of each row one at least runs in `make test`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([^|`]+) \| (`test_[^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
LEAST_ROWS = 24


def rows() -> dict[str, list[tuple[str, str]]]:
    """fault -> (file, test)."""
    text = (ROOT / "controller" / "DESIGN.md").read_text()
    section = text.partition("### Failure matrix")[2].partition("\n## ")[0]
    return {fault: NAMED.findall(tests) for fault, tests in ROW.findall(section)}


def is_slow(file: str, test: str) -> bool:
    """Of a test that is there."""
    (found,) = (ROOT / "tests").rglob(file)
    tree = ast.parse(found.read_text())
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    (function,) = (each for each in functions if each.name == test)
    marks = [each for each in function.decorator_list if "parametrize" not in ast.unparse(each)]
    marks += [each.value for each in tree.body if _is_pytestmark(each) and isinstance(each, ast.Assign)]
    return any("mark.slow" in ast.unparse(each) for each in marks)


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


ROWS = rows()


def test_every_row_is_read() -> None:
    assert len(ROWS) >= LEAST_ROWS


@pytest.mark.parametrize("fault", ROWS)
def test_its_tests_exist_and_one_is_run_each_time(fault: str) -> None:
    assert ROWS[fault]
    slow = [is_slow(file, test) for file, test in ROWS[fault]]
    assert not all(slow)
