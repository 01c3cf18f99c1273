"""Three rounds of a fixed seed on a laboratory of their own. More: `make soak`."""

from pathlib import Path

import pytest

from .program import Soak

ROUNDS = 3
SEED = "2"


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_few_rounds_are_good(tmp_path: Path) -> None:
    report = Soak(SEED, ROUNDS, 0, tmp_path / "soak.json").run()
    assert report.good, report.as_json()
    assert len(report.outcomes) == ROUNDS
    assert report.as_json()["points"] >= ROUNDS, "else nothing was looked at"
