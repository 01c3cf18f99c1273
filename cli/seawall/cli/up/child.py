"""One child of `seawall up`: the same `seawall … run` that an init script would start, in a session of its own, tied to our life."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from seawall.cli.exits import CommandError, Exit
from seawall.cli.up.child_log import ChildLog
from seawall.cli.up.signals import Signals
from seawall.repository.clock import Clock

STORAGE_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""The repository has them, sealed; neither child needs them in its environment, and workers would inherit them."""


class Child:
    """Started, perhaps more than once, from the main thread: the kernel's promise to end it holds for the thread that made it."""

    def __init__(self, name: str, words: Sequence[str], log: ChildLog) -> None:
        self.name = name
        self.log = log
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1

    def start(self) -> None:
        """Raises OSError."""
        seawall = (sys.executable, "-m", "seawall.cli", *self._words)
        with self.log.open() as log:
            process = subprocess.Popen(
                (sys.executable, "-m", "seawall.cli.up.tied", str(os.getpid()), *seawall),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={key: value for key, value in os.environ.items() if key not in STORAGE_SECRETS},
                start_new_session=True,  # a terminal's Ctrl-C is for us alone
            )
        self._forget()
        self._process, self._pidfd = process, os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        """Of the present or the last life; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ends_within(self, seconds: float) -> bool:
        """Whether it has ended, or does so in that time. A process that dies closes its sockets a moment before it can be waited for."""
        if self.runs:
            select.select((self._pidfd,), (), (), seconds)
        return not self.runs

    @property
    def readable_at_end(self) -> int:
        """A descriptor for select; only while it runs, or ran."""
        return self._pidfd

    def signal(self, number: signal.Signals) -> None:
        """To a child that runs; else nothing."""
        if self._process is not None and self.runs:
            self._process.send_signal(number)

    def how_it_ended(self) -> str:
        """A sentence's rest: "ended with exit code 5: Cannot listen on …"."""
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return "did not run"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        words = self.log.last_words()
        return f"{how}: {words}" if words else f"{how}."

    @property
    def gave_up(self) -> bool:
        """Whether it ended by itself with a reason of its own: wrong settings, a port that is taken, a state that is damaged."""
        code = self._process.returncode if self._process is not None else None
        return code in set(Exit) - {Exit.OK, Exit.FAILED}

    def need_running(self) -> None:
        """Raises CommandError with its last words, and its exit code where that is one of ours."""
        if self.runs:
            return
        code = self._process.returncode if self._process is not None else 1
        raise CommandError(
            Exit(code) if self.gave_up else Exit.FAILED,
            f"{self.name.upper()}_ENDED",
            f"The {self.name} {self.how_it_ended()} Its log is {self.log.path}.",
        )

    def wait_end(self, timeout_seconds: float, signals: Signals, clock: Clock, give_up: Callable[[], bool]) -> bool:
        """Whether it ended in that time, and before `give_up` said yes, which is asked after each signal."""
        deadline = clock.monotonic_seconds() + timeout_seconds
        while self.runs and not give_up():
            left = deadline - clock.monotonic_seconds()
            if left <= 0:
                return False
            select.select((self._pidfd, signals.wake), (), (), left)
            signals.drain()
        return not self.runs

    def reap(self) -> None:
        """After SIGKILL: until it is gone."""
        if self._process is not None:
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1
