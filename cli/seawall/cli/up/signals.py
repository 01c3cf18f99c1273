"""SIGINT, SIGTERM and SIGHUP while `seawall up` runs: until everything serves they interrupt whatever happens, later they wake the loop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(BaseException):
    """Somebody wants the command to end. Like KeyboardInterrupt no `except Exception` takes it."""


class Signals:
    """Made by `watched`. `wake` is a descriptor that is readable after a signal."""

    def __init__(self, wake: int) -> None:
        self.wake = wake
        self.count = 0
        self._interrupts = True

    def only_note(self) -> None:
        """From now on a signal interrupts nothing; `count` tells of it."""
        self._interrupts = False

    def drain(self) -> None:
        """Make `wake` quiet again."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.count += 1
        if self._interrupts:
            self._interrupts = False
            raise StopAsked


@contextmanager
def watched() -> Iterator[Signals]:
    """Handlers for the block. A SIGHUP that is ignored, as under nohup, stays ignored; a SIGINT, as in a script's background, does not."""
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    signals = Signals(reader)
    hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    chosen = [number for number in STOPPING if not (number is signal.SIGHUP and hangup_ignored)]
    before = {number: signal.signal(number, signals.note) for number in chosen}
    wake_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(wake_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
