"""borg: zstd at level 3, its usual encryption, its cache on."""

import shutil
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost

from .command_tool import CommandTool
from .measured import BORG, FOLDER
from .places import HOMES
from .targets import Target
from .timing import Timed

_HOME = HOMES / "borg"


class Borg(CommandTool):
    """Into a folder: it knows no S3."""

    name = BORG

    def __init__(self, host: NamespaceHost, repository: Path, target: Target) -> None:
        own = {"BORG_REPO": str(repository), "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(_HOME)}
        super().__init__(host, target, FOLDER, {**own, "HOME": str(_HOME)})

    def make_repository(self) -> None:
        shutil.rmtree(_HOME, ignore_errors=True)
        _HOME.mkdir(parents=True)
        self._run("borg", "init", "--encryption", "repokey-blake2")

    def _backup(self, case: str, disk: Path) -> tuple[Timed, str]:
        return self._timed("borg", "create", "--compression", "zstd,3", f"::{case}", str(disk)), case

    def _restore(self, point: str, folder: Path) -> Timed:
        return self._timed("borg", "extract", f"::{point}", directory=folder)
