"""`seawall up` that is killed, as by kill -9, right after a step: `cli_up_killed.py STEP STATE_DIR RUN_DIR HYPERVISOR`."""

import os
import signal
import sys
from pathlib import Path

from seawall.cli.output import Output
from seawall.cli.up.life import live
from seawall.cli.up.places import Places
from seawall.cli.up.plan import Asked
from seawall.repository.clock import SystemClock


def main(step: str, state_dir: str, run_dir: str, hypervisor: str) -> None:
    """Does not return when there is such a step."""

    def die(done: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    live(
        Places(Path(state_dir)), Asked(run_dir=run_dir, hypervisor=hypervisor), Output(as_json=True), SystemClock(), die
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
