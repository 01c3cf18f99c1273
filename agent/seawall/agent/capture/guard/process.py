"""A capture's side of its guard: starts it, gives it orders, hears its verdict, and stands in when it is lost. Called by LibvirtCapture."""

import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import structlog

from seawall.agent.capture.frozen_time import FrozenTime
from seawall.agent.capture.guard.pipe_lines import PipeLines
from seawall.agent.capture.guard.protocol import Order, Report, Setup, error_of, order_line, parse_report, setup_line
from seawall.agent.capture.guard.stand_in import stand_in
from seawall.agent.capture.limits import Limits
from seawall.agent.errors import AgentError, FreezeFailed
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import Clock

logger = structlog.get_logger(__name__)

READY_SECONDS = 60.0
ANSWER_SECONDS = 10.0
ANSWER_WHILE_FROZEN_SECONDS = 5.0
"""With the pause between two questions shorter than a freeze may last: that a guard hangs is noticed before."""
SLICES = 20
"""A wait is made of so many: the one in which this process itself was stopped ends at once, and says nothing about the guard."""
THAW_SECONDS = 5.0
"""How long an ending capture waits for the guest to answer a thaw."""
LEAVE_SECONDS = 3.0
LAST_WORDS_BYTES = 4096
LOOK_AGAIN_SECONDS = 0.05


class GuardLost(AgentError):
    """The guard died, hangs, or could not be started."""

    reason = "GUARD_LOST"
    next_step = (
        "It is tried again. If it happens twice, see what ends processes on that host: memory, limits, an operator."
    )


class GuardProcess:
    """Thread-safe. A thread of its own asks the guard every `look_seconds`, so that a lost one is noticed at once."""

    def __init__(self, command: Sequence[str], setup: Setup, log: Path, hypervisor: Hypervisor, clock: Clock) -> None:
        """Starts it and returns at once. It runs in a session of its own: no signal to this process' group reaches it. Raises GuardLost."""
        self._setup, self._hypervisor, self._clock, self._log = setup, hypervisor, clock, log
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._asker = threading.Thread(target=self._ask_on, name="guard", daemon=True)
        self._report, self._reported_seconds = Report(), clock.monotonic_seconds()
        self._lost: GuardLost | None = None
        self._left = self._checked = False
        self.longest_frozen = FrozenTime()
        self._process = _started([*command, str(setup.socket.parent)], log)
        self._orders = cast(IO[bytes], self._process.stdin)
        self._reports = cast(IO[bytes], self._process.stdout)
        self._lines = PipeLines(self._reports.fileno())
        self._write(setup_line(setup))

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_ready(self) -> None:
        """Call before anything is to be guarded. Raises GuardLost."""
        with self._lock:
            self._hear(READY_SECONDS)
        self._raise_if_over()
        self._asker.start()

    def freeze(self) -> None:
        """The guard freezes the guest, and thaws it in time, whatever comes. Raises FreezeFailed and what `check` raises."""
        if not self._is_thawed():
            raise FreezeFailed("The guest has not answered the last thaw yet.")
        self._ask(Order.FREEZE)
        while self._report.freezing and not self._left:
            self._ask(Order.AWAIT)
        self._raise_if_over()
        if self._report.freeze_failure is not None:
            raise error_of(self._report.freeze_failure)

    def thaw(self) -> bool:
        """The guard thaws now, and until the guest has answered. Whether it had begun to before. Never raises."""
        self._ask(Order.THAW)
        return self._report.overdue

    def begin(self, limits: Limits) -> None:
        """The job is about to be asked for. Raises what `check` raises."""
        self._ask(Order.BEGIN, limits)
        self._raise_if_over()

    def begun(self) -> None:
        """It is there. Raises what `check` raises."""
        self._ask(Order.BEGUN)
        self.check()

    def check(self) -> None:
        """Raises what ended the capture: ScratchFull, HypervisorError, GuardLost. Asks when the last report is old, as after a SIGSTOP."""
        self._checked = True
        if self._clock.monotonic_seconds() - self._reported_seconds > 2 * self._setup.look_seconds:
            self._ask(Order.CHECKED)
        self._raise_if_over()

    def let_end(self) -> None:
        """The capture ends its job: that it is gone is no news any more, and a guest is not to be frozen. Never raises."""
        self._closing.set()
        self._ask(Order.THAW)

    def close(self, *, job_ended: bool) -> bool:
        """Let the guard go; whether it is gone. One that has something left to end stays with it, and ends by itself. Never raises."""
        self.let_end()
        if self._asker.ident is not None:
            self._asker.join()
        gone = (job_ended and self._is_thawed()) or self._left
        if gone:
            self._ask(Order.OVER)
        self._orders.close()
        if gone:
            self._end(LEAVE_SECONDS)
        else:
            threading.Thread(target=self._end, args=(None,), name="the guard's end", daemon=True).start()
        return gone

    def _ask_on(self) -> None:
        while not self._closing.wait(self._setup.look_seconds) and not self._left:
            checked, self._checked = self._checked, False
            self._ask(Order.CHECKED if checked else Order.ALIVE)

    def _ask(self, order: Order, limits: Limits | None = None) -> None:
        """Give the order and take the report. Where the guard is lost, what it would have done is begun."""
        with self._lock:
            if self._left:
                return
            before = self._report
            self._write(order_line(order, limits))
            frozen = self._report.frozen or order is Order.FREEZE
            self._hear(ANSWER_WHILE_FROZEN_SECONDS if frozen else ANSWER_SECONDS)
            now = self._report
        self._tell(before, now)

    def _hear(self, seconds: float) -> None:
        """One report; without one the guard has left or is lost."""
        for _ in range(SLICES):
            line = self._lines.line(round(seconds / SLICES * 1000))
            if line is not None:
                break
        if line:
            self._report, self._reported_seconds = parse_report(line), self._clock.monotonic_seconds()
            return
        self._left = True
        if self._report.verdict is None and not self._closing.is_set():
            self._lose("hangs" if line is None else "")

    def _lose(self, how: str) -> None:
        self._end(0)
        how = how or f"ended with code {self._process.returncode}"
        self._lost = GuardLost(f"The process that guards the guest during a backup {how}.{_last_words(self._log)}")
        stand_in(self._hypervisor, self._setup, self._clock)

    def _raise_if_over(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._report.verdict is not None:
            raise error_of(self._report.verdict)

    def _is_thawed(self) -> bool:
        deadline = self._clock.monotonic_seconds() + THAW_SECONDS
        while self._report.frozen and not self._left and self._clock.monotonic_seconds() < deadline:
            self._ask(Order.ALIVE)
            self._clock.sleep_seconds(LOOK_AGAIN_SECONDS)
        return not self._report.frozen

    def _write(self, line: bytes) -> None:
        with suppress(BrokenPipeError):  # its last report may still be there
            self._orders.write(line)

    def _end(self, grace_seconds: float | None) -> None:
        """Wait for its end, and bring it about: SIGKILL ends a stopped process too. None: it takes the time that it needs."""
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._orders.close()
        self._reports.close()

    def _tell(self, before: Report, now: Report) -> None:
        """Log what is new."""
        vm_id = self._setup.vm_id
        frozen = FrozenTime(now.frozen_ms or 0, now.freezing_ms or 0, now.thawing_ms or 0)
        self.longest_frozen = max(self.longest_frozen, frozen, key=lambda one: one.total_ms)
        if before.frozen and not now.frozen and now.frozen_ms is not None:
            logger.info("capture.thawed", vm_id=vm_id, overdue=now.overdue, **frozen.logged)
        if now.thaw_failures and now.thaw_failures != before.thaw_failures:
            logger.warning("guest.thaw_failed", vm_id=vm_id, errors=now.thaw_failures)
        if now.verdict is not None and before.verdict is None and not self._closing.is_set():
            logger.warning("capture.ended", vm_id=vm_id, reason=now.verdict.reason, error=now.verdict.message)


def _started(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    try:
        with open(log, "xb", opener=_private) as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",  # not to hold a file system that somebody unmounts
                start_new_session=True,
                bufsize=0,
            )
    except OSError as error:
        raise GuardLost(f"The guard could not be started: {error}.") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_words(log: Path) -> str:
    """The folder belongs to QEMU's user, who may have laid a link there: it is not followed."""
    with suppress(OSError), open(os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS_BYTES))
        lines = file.read(LAST_WORDS_BYTES).decode(errors="replace").splitlines()
        return f" Its last words: {lines[-1]}" if lines else ""
    return ""
