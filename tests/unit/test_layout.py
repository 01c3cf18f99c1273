"""The tree's own rules: one namespace package in four portions, typed, without an `__init__.py` that would shadow the others."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTIONS = {"proto": "api", "repository": "repository", "controller": "controller", "agent": "agent", "cli": "cli"}


@pytest.mark.parametrize("portion", PORTIONS)
def test_portion_is_a_namespace_package(portion: str) -> None:
    assert not (ROOT / portion / "seawall" / "__init__.py").exists()


@pytest.mark.parametrize(("portion", "package"), PORTIONS.items())
def test_portion_is_typed(portion: str, package: str) -> None:
    assert (ROOT / portion / "seawall" / package / "py.typed").exists()


@pytest.mark.parametrize(("portion", "package"), PORTIONS.items())
def test_every_folder_with_code_is_a_real_package(portion: str, package: str) -> None:
    top = ROOT / portion / "seawall" / package
    folders = {path.parent for path in top.rglob("*.py") if "_pb2" not in path.name and path.name != "env.py"}
    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]


def test_no_generated_code_is_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text()
    assert "*_pb2.py" in ignored
