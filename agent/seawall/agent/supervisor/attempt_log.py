"""The log of one attempt: its worker's stderr in a file of bounded size, and the last line kept for a failure's message."""

from pathlib import Path

LIMIT_BYTES = 4 * 1024 * 1024
KEEP_FILES = 400
_LINE_LIMIT = 400


class AttemptLog:
    """`<attempt>.log`; when half the limit is reached it becomes `<attempt>.log.1` and a new one begins: the end is always there."""

    def __init__(self, directory: Path, attempt_id: str, limit_bytes: int = LIMIT_BYTES) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"{attempt_id}.log"
        self._half = limit_bytes // 2
        self._file = self.path.open("ab", buffering=0)
        self._last = b""

    def write(self, line: bytes) -> None:
        if self._file.tell() + len(line) > self._half:
            self._turn()
        self._file.write(line)
        self._last = line.strip() or self._last

    def last_line(self) -> str:
        return self._last[-_LINE_LIMIT:].decode(errors="replace")

    def close(self) -> None:
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_suffix(".log.1"))
        self._file = self.path.open("ab", buffering=0)


def prune_logs(directory: Path, keep: int = KEEP_FILES) -> None:
    """Remove the oldest files beyond `keep`."""
    if not directory.is_dir():
        return
    files = sorted(directory.glob("*.log*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[keep:]:
        path.unlink(missing_ok=True)
