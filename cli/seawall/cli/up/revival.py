"""Children that die before all is ready: an accident is answered by one more start, what comes again by the end of the command."""

from seawall.cli.up.child import Child
from seawall.cli.up.children import Say
from seawall.cli.up.restarts import Restarts
from seawall.repository.clock import Clock


class Revival:
    """One start of `seawall up`: each child that was started by it is started once more, if need be."""

    def __init__(self, clock: Clock, say: Say) -> None:
        self._clock = clock
        self._say = say
        self._deaths: dict[Child, Restarts] = {}

    def start(self, child: Child) -> None:
        """For the first time, or again after its death; nothing where it runs. Raises CommandError/…_ENDED after the second, OSError."""
        if child not in self._deaths:
            self._deaths[child] = Restarts()
            child.start()
        elif not child.runs:
            self._again(child)

    def look(self) -> None:
        """Whether all that were started run. Raises as `start` does."""
        for child in self._deaths:
            self.start(child)

    def _again(self, child: Child) -> None:
        """One that said itself why it cannot serve is not asked again: nothing has changed since."""
        before = self._deaths[child]
        self._deaths[child] = deaths = before.died(self._clock.monotonic_seconds())
        pause = deaths.pause_seconds
        if before.deaths or child.gave_up or pause is None:
            child.need_running()
            return
        self._say(
            f"The {child.name} {child.how_it_ended()} It is started once more in {pause:.0f} s; its log is {child.log.path}."
        )
        self._clock.sleep_seconds(pause)
        child.start()
