"""`python -m seawall.cli.up.tied PARENT COMMAND…`: becomes the command, after the kernel promised to send it SIGTERM when its parent dies.

SIGTERM and not SIGKILL: an agent that is told to stop ends its backups and sweeps what they left. The promise survives exec, and is made
between fork and exec in a process of its own, because code of ours may not run in the child of a process with threads.
"""

import os
import sys

from seawall.agent.worker.parent_death import end_with_parent, has_parent


def main(parent: str, *command: str) -> None:
    """Never returns. Raises OSError."""
    end_with_parent()
    if not has_parent(int(parent)):  # it died before the promise was made
        sys.exit(0)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
