"""Writers of several processes, one repository, collections and checks meanwhile: see `program`."""

import json
from pathlib import Path

import pytest

from .hosts import MIB, Sizes
from .program import Outcome, Plan, run

BUILD = Path(__file__).parents[2] / "build"
FEW = Plan(
    hosts=2, each=2, sizes=Sizes(shared=MIB, of_host=MIB // 4, own=MIB // 4, changed=MIB // 8), chunk_nominal_bytes=8192
)
MANY = Plan(hosts=8, each=2, sizes=Sizes(4 * MIB, MIB, MIB, MIB // 2), chunk_nominal_bytes=16 * 1024)


def check(outcome: Outcome, plan: Plan) -> None:
    assert outcome.wrong == []
    assert outcome.jobs_failed == []
    assert outcome.findings == 0
    assert outcome.collections > 0 < outcome.checks
    assert outcome.workers_at_once == plan.writers
    for wave in outcome.waves:
        assert wave.violations == ()
        assert wave.twice_bytes <= wave.bound_bytes <= (plan.writers + 1) * wave.unique_bytes
        assert wave.most_copies <= plan.writers
    assert outcome.clones_stored_bytes == 0


@pytest.mark.slow
def test_a_few_writers_share_a_repository(tmp_path: Path) -> None:
    check(run(tmp_path, FEW), FEW)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixteen_writers_share_a_repository(tmp_path: Path) -> None:
    outcome = run(tmp_path, MANY)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "concurrency.json").write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
    check(outcome, MANY)
