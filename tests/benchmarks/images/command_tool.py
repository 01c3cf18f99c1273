"""A tool that is one command which reads files: restic and borg, as their users run them, on the same host as the VMs."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost

from .measured import RESTORE, Row
from .places import OUT
from .targets import Difference, Target
from .timing import Timed, settle, timed


class CommandTool(ABC):
    """One repository of one tool. `target_name`: rgw or folder."""

    name: str

    def __init__(self, host: NamespaceHost, target: Target, target_name: str, environment: Mapping[str, str]) -> None:
        self._host = host
        self._target = target
        self._target_name = target_name
        self._environment = environment
        self._points: dict[str, tuple[str, Path]] = {}

    @abstractmethod
    def make_repository(self) -> None: ...

    @abstractmethod
    def _backup(self, case: str, disk: Path) -> tuple[Timed, str]:
        """The timed command, and the name by which the point is restored."""

    @abstractmethod
    def _restore(self, point: str, folder: Path) -> Timed: ...

    def backup(self, case: str, round_number: int, disk: Path) -> Row:
        settle(disk)
        before = self._target.before()
        done, point = self._backup(case, disk)
        self._points[case] = (point, disk)
        return self._row(case, round_number, done, self._target.since(before))

    def restore(self, case: str, round_number: int) -> tuple[Row, Path]:
        """The point of a case, into an empty folder. Also where the image is then."""
        point, disk = self._points[case]
        folder = OUT / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        settle()
        before = self._target.before()
        done = self._restore(point, folder)
        row = replace(self._row(RESTORE, round_number, done, self._target.since(before)), stored_bytes=0)
        return row, folder / disk.relative_to("/")

    def _row(self, case: str, round_number: int, done: Timed, change: Difference) -> Row:
        return Row(
            tool=self.name,
            target=self._target_name,
            case=case,
            round=round_number,
            wall_seconds=done.wall_seconds,
            cpu_seconds=done.cpu_seconds,
            peak_mib=done.peak_mib,
            stored_bytes=change.stored_bytes,
            store_cpu_seconds=change.store_cpu_seconds,
            requests=change.requests,
        )

    def _timed(self, *words: str, directory: Path | None = None) -> Timed:
        inside = ["env", "-C", str(directory)] if directory else []
        return timed(self._host, [*inside, *words], self._environment)

    def _run(self, *words: str) -> str:
        return self._host.run(words, env=self._environment, timeout_seconds=120).stdout
