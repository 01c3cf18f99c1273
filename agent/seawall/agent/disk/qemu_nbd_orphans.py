"""Ending each qemu-nbd that a dead process of ours left. Apart from `qemu_nbd`, as the supervisor does without libnbd this way (5 MiB)."""

import os
import signal
from contextlib import suppress
from pathlib import Path

TOOL, SOCKET_OPTION = "qemu-nbd", "--socket="


def kill_servers(folder: Path) -> list[Path]:
    """End every qemu-nbd whose socket lies in this folder; returns the sockets. For those of a process that died before it connected."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = [os.fsdecode(one) for one in (process / "cmdline").read_bytes().split(b"\0")]
        except OSError:
            continue  # it ended meanwhile
        sockets = [Path(one.removeprefix(SOCKET_OPTION)) for one in arguments if one.startswith(SOCKET_OPTION)]
        if Path(arguments[0]).name == TOOL and any(socket.parent == folder for socket in sockets):
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
            found += sockets
    return found
