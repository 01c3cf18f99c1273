"""The log of one attempt: its worker's stderr in a file of bounded size, and the last line kept for a failure's message.

A log that cannot be written (a full disk) is said once in the agent's own; the attempt goes on without.
"""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import structlog

LIMIT_BYTES = 4 * 1024 * 1024
KEEP_FILES = 400
_LINE_LIMIT = 400

_log = structlog.get_logger("seawall.agent.supervisor")


class AttemptLog:
    """`<attempt>.log`; when half the limit is reached it becomes `<attempt>.log.1` and a new one begins: the end is always there.

    Its methods never raise.
    """

    def __init__(self, directory: Path, attempt_id: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = directory / f"{attempt_id}.log"
        self._half = limit_bytes // 2
        self._file: BinaryIO | None = None
        self._last = b""
        self._told = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._opened()
        except OSError as error:
            self._tell(error)

    def write(self, line: bytes) -> None:
        self._last = line.strip() or self._last
        try:
            self._append(line)
        except OSError as error:
            self._tell(error)

    def last_line(self) -> str:
        return self._last[-_LINE_LIMIT:].decode(errors="replace")

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is not None and self._file.tell() + len(line) > self._half:
            self.close()
            self.path.replace(self.path.with_suffix(".log.1"))
        if self._file is None:
            self._file = self._opened()
        self._file.write(line)

    def _opened(self) -> BinaryIO:
        return self.path.open("ab", buffering=0)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning("attempt_log_not_written", path=str(self.path), error=str(error))


def prune_logs(directory: Path, keep: int = KEEP_FILES) -> None:
    """Remove the oldest files beyond `keep`. Never raises."""
    with suppress(OSError):
        files = sorted(directory.glob("*.log*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[keep:]:
            path.unlink(missing_ok=True)
