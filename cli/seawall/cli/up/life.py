"""One life of `seawall up`: from the lock on the state directory to the end of the last child."""

import os
from collections.abc import Callable
from contextlib import suppress

from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.up.children import Children, Say
from seawall.cli.up.locks import only_one
from seawall.cli.up.places import Places
from seawall.cli.up.plan import Asked
from seawall.cli.up.ready import Ready, document, show
from seawall.cli.up.serve import Watch
from seawall.cli.up.settle import settle_settings
from seawall.cli.up.signals import Signals, StopAsked, watched
from seawall.cli.up.start import OnStep, Start
from seawall.repository.clock import Clock, datetime_of


def live(places: Places, asked: Asked, output: Output, clock: Clock, on_step: OnStep = lambda step: None) -> Exit:
    """Until a signal: OK after an orderly end, INTERRUPTED when a second signal cut that short. Raises CommandError, OSError."""
    say = _teller(output, clock)
    # Whatever root's own umask: QEMU, another user, passes through these folders. What is secret is made with a mode of its own.
    os.umask(0o022)
    with watched() as signals:
        try:
            places.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            with only_one(places.lock):
                return _live_alone(places, asked, output, clock, signals, say, on_step)
        except StopAsked as error:
            raise CommandError(
                Exit.INTERRUPTED,
                "INTERRUPTED",
                "Stopped before everything was ready. What was made stays; the next `seawall up` goes on from there.",
            ) from error


def _live_alone(
    places: Places, asked: Asked, output: Output, clock: Clock, signals: Signals, say: Say, on_step: OnStep
) -> Exit:
    settings = settle_settings(places, asked, clock, say)
    on_step("remembered")
    children = Children(places, settings)
    ended_well = False
    try:
        ready = Start(places, settings, asked, children, clock, say, on_step).run()
        signals.only_note()  # whoever reads that it is up may end it at once, and that is an orderly end
        _answer(output, ready)
        on_step("answered")
        Watch(children, signals, clock, say).run()
        say("Stopping: the agent first, then the controller. Once more Ctrl-C ends them hard.")
    finally:
        ended_well = children.stop(signals, clock, say)
    say("Both have ended; `seawall up` starts them again.")
    return Exit.OK if ended_well else Exit.INTERRUPTED


def _answer(output: Output, ready: Ready) -> None:
    if output.as_json:
        output.json(document(ready))
    else:
        show(output, ready)


def _teller(output: Output, clock: Clock) -> Callable[[str], None]:
    """Events, a line each, on standard error. A terminal that is gone ends nothing: the children must still be stopped in order."""

    def say(text: str) -> None:
        with suppress(OSError):
            output.event(f"{datetime_of(clock.now_us()).astimezone():%H:%M:%S}  {text}")

    return say
