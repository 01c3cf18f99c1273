"""The real `seawall` command as a child process: to its end, in the background, or on a terminal of its own."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one document and nothing else."""
        return json.loads(self.out)

    @property
    def reason(self) -> str:
        """The stable word of an error in JSON."""
        error = self.json["error"]
        assert error["exit_code"] == self.code
        return str(error["reason"])


@dataclass(frozen=True)
class Cli:
    """Commands of one operator, who has nothing but this home folder."""

    home: Path
    operator_toml: Path | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, stdin: str = "") -> Answer:
        done = subprocess.run(
            self.line(*words),
            env=self.environment,
            cwd=self.home,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=60,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def completed(self, typed: str) -> tuple[str, str]:
        """What bash is told when Tab is pressed after these words, and standard error."""
        asked = {"_SEAWALL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
        line = [sys.executable, "-c", "from seawall.cli.main import app; app(prog_name='seawall')"]
        done = subprocess.run(line, env=self.environment | asked, text=True, capture_output=True, timeout=20)
        return done.stdout.lstrip("\n"), done.stderr

    def line(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "seawall.cli", *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        config = {"SEAWALL_CONFIG": str(self.operator_toml)} if self.operator_toml else {}
        return kept | {"HOME": str(self.home), "LANG": "C.UTF-8", "TZ": "UTC"} | config | self.extra

    @contextmanager
    def background(self, *words: str | Path) -> Iterator["subprocess.Popen[str]"]:
        """Killed at the end of the block if it still runs."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            self.line(*words),
            env=self.environment,
            cwd=self.home,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def terminal(self, *words: str | Path, columns: int = 100) -> Iterator["Terminal"]:
        """The command on a terminal of this width."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = self.environment | {"TERM": "xterm"}
        process = subprocess.Popen(
            self.line(*words),
            env=environment,
            cwd=self.home,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        try:
            yield Terminal(process, master)
        finally:
            process.kill()
            process.wait()
            os.close(master)


@dataclass
class Terminal:
    """What a command shows and how it ends."""

    process: "subprocess.Popen[bytes]"
    master: int
    shown: str = ""

    def wait_for(self, pattern: str) -> str:
        """All that was shown until now, without colours, as soon as the pattern is in it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not re.search(pattern, self.text):
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} was not shown: {self.text}")
        return self.text

    def end(self) -> int:
        """Reads to the end; the exit code."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(timeout=max(0.1, deadline - time.monotonic()))

    def answer(self, text: str) -> None:
        """Typed in."""
        os.write(self.master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.shown)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            read = os.read(self.master, 65_536)
        except OSError:  # EIO: the other end is closed
            return False
        self.shown += read.decode(errors="replace")
        return bool(read)
