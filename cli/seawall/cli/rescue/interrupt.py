"""Ctrl-C and SIGTERM during a rescue: the first ends it in order, the second at once. Either way it can be resumed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seawall.cli.exits import CommandError, Exit
from seawall.repository.rescue.interrupt import Interrupted, InterruptibleClock

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(clock: InterruptibleClock) -> Iterator[None]:
    """Raises CommandError when a signal came; waits of the store end with it."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if clock.interrupted:
            os._exit(Exit.INTERRUPTED)
        clock.interrupt()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        raise CommandError(
            Exit.INTERRUPTED,
            "INTERRUPTED",
            "Interrupted. What is written stays: the same command goes on there (for a device, with --resume).",
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
