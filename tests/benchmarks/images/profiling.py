"""Where the worker's CPU time goes in the case `full`: py-spy looks at its threads a hundred times a second, native code included."""

import subprocess
import sys
import threading
from pathlib import Path

from deploy.lab.waiting import LabFailed, wait_for

from .cases import STEPS
from .fleet import Fleet
from .making import image
from .measured import RGW, Row
from .offline_vm import OfflineVm
from .places import BENCH, PROFILE
from .processes import children
from .profile_text import profile_page
from .seawall_tool import Seawall
from .targets import BucketTarget

_PY_SPY = BENCH / "py-spy"
_RAW = BENCH / "worker-stacks.txt"
_REQUIREMENTS = Path(__file__).with_name("profiler.txt")


def profile() -> str:
    """Backs up the base image once under the profiler; writes PROFILE.md and returns its text."""
    _install()
    with Fleet() as fleet:
        seawall = Seawall(fleet, "rgw", BucketTarget(fleet.store, "seawall"), RGW)
        seawall.make_repository("s3://seawall")
        step = STEPS[0]
        vm = OfflineVm(fleet, step.vm)
        vm.present(image(step.image))
        _RAW.unlink(missing_ok=True)
        complaints: list[str] = []
        watcher = threading.Thread(target=_record, args=(fleet, complaints))
        watcher.start()
        row: Row = seawall.backup(step.case, 1, vm)
        watcher.join()
    if not _RAW.exists():
        raise LabFailed(f"the profiler wrote nothing: {' '.join(complaints)}")
    page = profile_page(_RAW.read_text(), row)
    PROFILE.write_text(page)
    return page


def _install() -> None:
    """Apart from the project's own environment, which does not need it."""
    if (_PY_SPY / "bin/py-spy").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(_PY_SPY)], check=True)
    pip = [str(_PY_SPY / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "-r", str(_REQUIREMENTS)], check=True)


def _record(fleet: Fleet, said: list[str]) -> None:
    """From the worker's start to its end. What the profiler complained of goes to `said`.

    It runs inside the host: from outside it cannot unwind what lives in another mount namespace.
    """
    agent_pid = fleet.agent.process.pid
    workers = wait_for("a worker to begin", lambda: children(agent_pid), 60)
    status = Path(f"/proc/{workers[0]}/status").read_text().splitlines()
    pid = next(line.split()[-1] for line in status if line.startswith("NSpid:"))
    command = [str(_PY_SPY / "bin/py-spy"), "record", "--native", "--rate", "100", "--format", "raw"]
    done = fleet.host.run([*command, "--output", str(_RAW), "--pid", pid], timeout_seconds=1800, check=False)
    if done.returncode != 0:
        said.append(done.stderr[:600])
