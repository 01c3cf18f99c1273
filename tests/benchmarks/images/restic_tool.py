"""restic: defaults, its cache on, the repository's password in the environment."""

import json
import shutil
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost

from .command_tool import CommandTool
from .measured import RESTIC
from .places import HOMES
from .targets import Target
from .timing import Timed

_HOME = HOMES / "restic"


class Restic(CommandTool):
    """`repository` as restic spells it; `keys`: what it needs to get there."""

    name = RESTIC

    def __init__(
        self, host: NamespaceHost, repository: str, target: Target, target_name: str, keys: dict[str, str]
    ) -> None:
        own = {"RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD": "bench", "HOME": str(_HOME), "TMPDIR": str(_HOME)}
        super().__init__(host, target, target_name, {**keys, **own})

    def make_repository(self) -> None:
        shutil.rmtree(_HOME, ignore_errors=True)
        _HOME.mkdir(parents=True)
        self._run("restic", "init")

    def _backup(self, case: str, disk: Path) -> tuple[Timed, str]:
        done = self._timed("restic", "backup", str(disk))
        newest = json.loads(self._run("restic", "snapshots", "--json", "--latest", "1", "--path", str(disk)))[-1]
        return done, str(newest["id"])

    def _restore(self, point: str, folder: Path) -> Timed:
        return self._timed("restic", "restore", point, "--target", str(folder))
