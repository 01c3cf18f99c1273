"""What `seawall controller run` becomes: the same process without the modules of the command line, which a daemon would hold for ever.

Measured: 12 MiB of 126. It imports what it needs and no more; the command line's words for an error are loaded when there is one.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn


def become_controller(file: Path | None, given: Mapping[str, Any]) -> NoReturn:
    """`load_config`'s arguments, none of them secret. Keeps the process id, and the command line as its last words for whoever lists
    processes. Raises OSError."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", __name__, settings(file, given), *sys.argv])  # noqa: S606


def settings(file: Path | None, given: Mapping[str, Any]) -> str:
    """For `serve`."""
    return json.dumps({"file": file, "given": given}, default=str)


def serve(text: str) -> int:
    """Until told to stop, with these `settings`; the exit code."""
    from seawall.controller.app import run
    from seawall.controller.config import load_config

    told = json.loads(text)
    try:
        return run(load_config(Path(told["file"]) if told["file"] else None, **told["given"]))
    except Exception as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    """As every command tells its errors; the exit code."""
    import typer

    from seawall.cli.compose import controller_errors
    from seawall.cli.session import answering

    try:
        with answering(False), controller_errors():
            raise error
    except typer.Exit as ended:
        return ended.exit_code


def end(code: int) -> NoReturn:
    """Threads that wait for a store which does not answer (a hung NFS) are not waited for: all that was to be written down is."""
    from seawall.controller.services.blocking import hung

    if hung():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    end(serve(sys.argv[1]))
