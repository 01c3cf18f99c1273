"""The log of one child: its standard error in a file of bounded size."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 64 * 1024
LONGEST_WORDS = 1000
MESSAGE = "seawall: "


class ChildLog:
    """`NAME.log`, written by the child itself: it must never wait for us, whom Ctrl-Z may stop. `NAME.log.1` is what came before."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._began = 0

    def open(self) -> BinaryIO:
        """To append to; where this life of the child begins is noted. Raises OSError."""
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._began = os.fstat(descriptor).st_size
        return os.fdopen(descriptor, "wb", buffering=0)

    def bound(self) -> None:
        """Copy and cut a log that grew too large. The child appends, so it goes on at the beginning; a line written in between is lost.

        Never raises: a full disk costs the copy.
        """
        with suppress(OSError):
            if self.path.stat().st_size <= self._limit_bytes:
                return
            with suppress(OSError):
                before = self.path.with_suffix(".log.1")
                shutil.copyfile(self.path, before)
                before.chmod(0o640)
            os.truncate(self.path, 0)
            self._began = 0

    def last_words(self) -> str:
        """What this life of the child ended with: the message of a command that gave up, else its last line, but for what went well.

        Where no log could be written: that the disk is full.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._began, size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        _, found, message = text.rpartition(f"\n{MESSAGE}") if f"\n{MESSAGE}" in text else ("", "", "")
        if not found and text.startswith(MESSAGE):
            message = text.removeprefix(MESSAGE)
        lines = [line for line in text.splitlines() if line.strip() and not _is_good_news(line)]
        return (message.strip() or (lines[-1].strip() if lines else self._no_room()))[:LONGEST_WORDS]

    def _no_room(self) -> str:
        with suppress(OSError):
            if os.statvfs(self.path.parent).f_bavail == 0:
                return f"no space is left in {self.path.parent}."
        return ""


def _is_good_news(line: str) -> bool:
    """An event of everyday business says nothing of an end."""
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("level") in ("debug", "info")
