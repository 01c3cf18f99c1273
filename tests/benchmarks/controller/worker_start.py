"""What the start of a worker costs besides: the real command, executed and imported, until it asks for its order."""

import subprocess
import time

from seawall.agent.app import WORKER_COMMAND

TRIES = 20


def worker_start_seconds() -> list[float]:
    """A worker that is given no order ends once it is ready for one."""
    found = []
    for _ in range(TRIES):
        begun = time.monotonic()
        done = subprocess.run([*WORKER_COMMAND, "bench"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        found.append(time.monotonic() - begun)
        assert done.returncode == 1, done.stderr.decode()
    return found
