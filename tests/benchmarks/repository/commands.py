"""Outside commands, timed from start to exit, with the CPU time of all their processes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .alternating import Spent

SEAWALL = (str(Path(sys.executable).with_name("seawall")),)


class CommandFailed(Exception):
    """A command that the bench needs ended badly. The message ends with what it said."""


def timed(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Spent:
    """Raises CommandFailed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(argv, env)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What it printed. Raises CommandFailed."""
    done = subprocess.run(
        list(argv), env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)} ended with {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


class Restic:
    """One restic repository in a folder: its defaults, its cache on. `new`: it is made, and the folder with it."""

    def __init__(self, folder: Path, *, new: bool = True) -> None:
        self.env = {
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "TMPDIR": str(folder),
        }
        if new:
            folder.mkdir(parents=True)
            run(("restic", "init"), self.env)

    def run(self, *words: str) -> str:
        return run(("restic", *words), self.env)

    def timed(self, *words: str) -> Spent:
        return timed(("restic", *words), self.env)
