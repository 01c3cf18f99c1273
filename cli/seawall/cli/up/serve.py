"""While all is up: children that die are started again, logs are kept small, signals end the watch."""

import select

from seawall.agent.adopted import Adopted, inherits_orphans
from seawall.cli.exits import CommandError, Exit
from seawall.cli.up.child import Child
from seawall.cli.up.children import Children, Say
from seawall.cli.up.restarts import MOST_DEATHS, WINDOW_SECONDS, Restarts
from seawall.cli.up.signals import Signals
from seawall.repository.clock import Clock

LOOK_SECONDS = 5.0


class Watch:
    """Made when both children serve and signals are only noted; `run` returns when somebody wants the end."""

    def __init__(self, children: Children, signals: Signals, clock: Clock, say: Say) -> None:
        self._children = (children.controller, children.agent)
        self._signals = signals
        self._clock = clock
        self._say = say
        self._deaths = {child.name: Restarts() for child in self._children}
        self._due: dict[str, float] = {}
        self._adopted = Adopted() if inherits_orphans() else None

    def run(self) -> None:
        """Raises CommandError/CONTROLLER_ENDED, AGENT_ENDED when one dies too often."""
        while not self._signals.count:
            self._wait()
            if self._adopted is not None:
                self._adopted.see_off({child.pid for child in self._children})
            for child in self._children:
                child.log.bound()
                if child.name in self._due:
                    self._restart_when_due(child)
                elif not child.runs:
                    self._mourn(child)

    def _wait(self) -> None:
        now = self._clock.monotonic_seconds()
        seconds = min((LOOK_SECONDS, *(max(0.0, due - now) for due in self._due.values())))
        running = [child.readable_at_end for child in self._children if child.name not in self._due]
        select.select((self._signals.wake, *running), (), (), seconds)
        self._signals.drain()

    def _mourn(self, child: Child) -> None:
        how = child.how_it_ended()
        now = self._clock.monotonic_seconds()
        self._deaths[child.name] = deaths = self._deaths[child.name].died(now)
        pause = deaths.pause_seconds
        if pause is None:
            raise CommandError(
                Exit.FAILED,
                f"{child.name.upper()}_ENDED",
                f"The {child.name} died {MOST_DEATHS + 1} times in {WINDOW_SECONDS / 60:.0f} minutes; at last it {how} "
                f"Its log is {child.log.path}.",
            )
        self._due[child.name] = now + pause
        self._say(f"The {child.name} {how} It is started again in {pause:.0f} s; its log is {child.log.path}.")

    def _restart_when_due(self, child: Child) -> None:
        if self._clock.monotonic_seconds() < self._due[child.name]:
            return
        del self._due[child.name]
        try:
            child.start()
        except OSError as error:
            self._say(f"The {child.name} cannot be started: {error}.")
            return  # it does not run: the next look counts it as a death
        self._say(f"The {child.name} runs again (process {child.pid}).")
