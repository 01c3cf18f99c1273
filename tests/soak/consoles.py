"""Reads what guests say on their consoles as they say it, and notes when. One thread for all guests of a round."""

import threading
import time
from pathlib import Path

from .evidence import ConsoleLine

EVERY_SECONDS = 0.05


class Consoles:
    """As a context it follows; `lines` may be asked at any time. Consoles must only grow."""

    def __init__(self) -> None:
        self._followed: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consoles", daemon=True)

    def __enter__(self) -> "Consoles":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def follow(self, name: str, console: Path) -> None:
        with self._lock:
            self._followed[name] = _Followed(console)

    def lines(self, name: str) -> tuple[ConsoleLine, ...]:
        """So far; complete ones."""
        with self._lock:
            followed = self._followed[name]
            followed.read()
            return tuple(followed.lines)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            with self._lock:
                for followed in self._followed.values():
                    followed.read()


class _Followed:
    def __init__(self, path: Path) -> None:
        self._path, self._at, self._rest = path, 0, b""
        self.lines: list[ConsoleLine] = []

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            more = file.read()
        if not more:
            return
        self._at += len(more)
        *whole, self._rest = (self._rest + more).split(b"\n")
        now = time.monotonic()
        self.lines += [ConsoleLine(now, one.decode(errors="replace").strip()) for one in whole]
