"""One call of one hook, from beginning to end: its outcome, never an exception. Belongs to the event loop."""

import asyncio
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.hooks.aside import Aside
from seawall.controller.hooks.command import run_command
from seawall.controller.hooks.directory import Command, HookDirectory, Webhook
from seawall.controller.hooks.messages import Message
from seawall.controller.hooks.outcome import Outcome
from seawall.controller.hooks.webhook import post
from seawall.repository.clock import Clock

_log = structlog.get_logger()


class Caller:
    """Makes calls. `wall` dates signatures."""

    def __init__(self, directory: HookDirectory, wall: Clock) -> None:
        self.directory = directory
        self._wall = wall
        self._aside = Aside()

    async def call(self, hook: str, message: Message, timeout_seconds: float) -> Outcome:
        """Whatever happens, it is over soon after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                found = await self._aside.run(partial(self.directory.load, hook))
                return await self._made(found, message, timeout_seconds)
        except ControllerError as error:
            return Outcome(False, str(error), called=False)
        except TimeoutError:
            return Outcome(False, f"It was not done after {timeout_seconds:g} s.")
        except Exception as error:
            # The top of a call: what nobody foresaw (no descriptors, no threads) is an outcome too, or it would be tried for ever.
            _log.exception("hook.call_failed", hook=hook, call_id=message.call_id)
            return Outcome(False, f"It could not be called ({type(error).__name__}).", called=False)

    async def _made(self, found: Command | Webhook, message: Message, timeout_seconds: float) -> Outcome:
        if isinstance(found, Command):
            return await run_command(found, message.body, message.facts)
        now_seconds = self._wall.now_us() // 1_000_000
        return await post(
            found, message.body, message.call_id, message.stage, now_seconds, self._aside, timeout_seconds
        )
