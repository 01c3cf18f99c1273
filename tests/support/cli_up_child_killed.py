"""`seawall up` whose children are killed while it starts: `cli_up_child_killed.py STATE_DIR RUN_DIR HYPERVISOR STEP=CHILD…`.

After each named step that child gets SIGKILL; once everything serves the command gets SIGINT, as by Ctrl-C.
"""

import os
import signal
import sys
import time
from pathlib import Path

from seawall.cli.output import Output
from seawall.cli.up.life import live
from seawall.cli.up.places import Places
from seawall.cli.up.plan import Asked
from seawall.repository.clock import SystemClock


def main(state_dir: str, run_dir: str, hypervisor: str, *killings: str) -> int:
    """The exit code. Raises what `live` does."""
    victims = dict(each.split("=") for each in killings)

    def on_step(done: str) -> None:
        if done in victims:
            os.kill(child_of_ours(victims.pop(done)), signal.SIGKILL)
        if done == "answered":
            os.kill(os.getpid(), signal.SIGINT)

    asked = Asked(run_dir=run_dir, hypervisor=hypervisor)
    return live(Places(Path(state_dir)), asked, Output(as_json=True), SystemClock(), on_step)


def child_of_ours(name: str) -> int:
    """The process that runs `seawall NAME run`, or is about to. In the moment of its exec it has no command line."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        found = [pid for pid, words in lines.items() if name.encode() in words]
        if found:
            return found[0]
        time.sleep(0.001)
    raise AssertionError(f"no {name} runs")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
