"""What the supervisor's process does without: it lives on every host, idle most of the time, and memory is the guests'."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import seawall.cli.main, seawall.agent.app
status = open("/proc/self/status").read()
print(json.dumps({"modules": sorted(sys.modules), "kib": int(status.split("VmRSS:")[1].split()[0])}))
"""
MOST_KIB = 80 * 1024
"""Without its threads and connections; 69 MiB when this was written. With them it may take 100 MB."""


@pytest.fixture(scope="module")
def supervisor() -> dict[str, object]:
    """The process of `seawall agent run` before it runs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("module", ["numpy", "nbd", "boto3", "botocore", "sqlalchemy", "alembic", "urllib3"])
def test_what_only_workers_and_controllers_need_is_not_loaded(supervisor: dict[str, object], module: str) -> None:
    modules = supervisor["modules"]
    assert isinstance(modules, list) and "seawall.agent.supervisor.supervisor" in modules
    assert module not in modules


def test_it_is_small_when_it_starts(supervisor: dict[str, object]) -> None:
    assert int(str(supervisor["kib"])) < MOST_KIB
