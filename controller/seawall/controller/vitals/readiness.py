"""Whether the controller is ready, by the word of several who watch over it: it is when all of them say so."""

from collections.abc import Awaitable, Callable

Ready = Callable[[bool], Awaitable[None]]


class Readiness:
    """Belongs to one event loop."""

    def __init__(self, tell: Ready) -> None:
        """`tell`: the health service, which was told that it is ready."""
        self._tell = tell
        self._said: dict[str, bool] = {}
        self._told = True

    def of(self, who: str) -> Ready:
        """How one of them says it."""

        async def says(ready: bool) -> None:
            self._said[who] = ready
            if all(self._said.values()) != self._told:
                self._told = not self._told
                await self._tell(self._told)

        return says
