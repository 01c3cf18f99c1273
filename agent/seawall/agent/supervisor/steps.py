"""How every loop of a session goes on: one step, a pause, again; failures back off, an unknown session ends them all."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from seawall.agent.control.errors import SessionUnknown
from seawall.agent.errors import AgentError
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.timing import Backoff

_log = structlog.get_logger("seawall.agent.supervisor")


async def repeat(
    name: str,
    step: Callable[[], Awaitable[float]],
    backoff: Backoff,
    state: SupervisorState,
    rest: Callable[[float], Awaitable[None]],
) -> None:
    """Run `step` for ever; it returns the seconds to wait before the next. `rest`: the wait after a failure. Raises SessionUnknown only."""
    while True:
        try:
            pause = await step()
        except SessionUnknown:
            raise
        except AgentError as error:
            state.last_error = str(error)
            pause = backoff.next_seconds()
            _log.warning(
                "step_failed", step=name, reason=error.reason, error=str(error), retry_in_seconds=round(pause, 1)
            )
            await rest(pause)
        else:
            backoff.reset()
            await asyncio.sleep(pause)
