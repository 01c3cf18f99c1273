"""The planted bugs are still in what they were planted in: each names words that are there once, and the copy is what is run."""

import subprocess
from pathlib import Path

import pytest

from .planted import BUGS, TREE, Edit, edited, plant


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_bug_can_be_planted(name: str) -> None:
    texts: dict[str, str] = {}
    for edit in BUGS[name].edits:
        texts[edit.path] = edited(texts.get(edit.path) or (TREE / edit.path).read_text(), edit)
    for path, text in texts.items():
        compile(text, path, "exec")
        assert text != (TREE / path).read_text()


def test_words_that_are_gone_are_named() -> None:
    with pytest.raises(ValueError, match=r"guard\.py has 'thaw' 2 times"):
        edited("thaw, thaw", Edit("guard.py", "thaw", "freeze"))


def test_the_copy_is_what_runs(tmp_path: Path) -> None:
    python = plant(BUGS["never-thaws"], tmp_path)
    asked = (
        "import nbd, grpc, seawall.agent.app as one, seawall.controller as other; print(one.__file__, other.__file__)"
    )
    said = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.split()
    assert all(Path(one).is_relative_to(tmp_path) for one in said)
    done = subprocess.run([python.with_name("seawall"), "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "restore" in done.stdout
