"""The supervisor's connection to one of the controllers, and what becomes of its calls when that one stands still. Made by Link.

A process that is stopped, or a machine that vanished, keeps its connections: only calls that are not answered tell, and a long-poll is
meant to be quiet. So a call that waits for long looks for a sign of life (`seawall.api.standing_still` says which), and without one all
calls of the connection end, the long-poll too.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import grpc

from seawall.agent.control.errors import ControllerSilent, ControllerStandsStill
from seawall.api.standing_still import ANSWER_SECONDS, ANY_SERVICE, HEALTH, LOOK_SECONDS
from seawall.api.v1 import agent_pb2_grpc

T = TypeVar("T")


class Connection:
    """Make it inside the loop."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Whatever waits for an answer here waits no more."""
        if not self._left.done():
            self._left.set_result(None)

    async def answer(self, call: Awaitable[T], look_seconds: float | None) -> T:
        """Of a call on this connection. `look_seconds`: of silence, before the controller is looked at; None: it is not.

        Raises what the call raises, ControllerSilent when the connection was left or closed meanwhile, ControllerStandsStill when it is
        time to leave it.
        """
        asked = asyncio.ensure_future(call)
        try:
            while not asked.done() and not self._left.done():
                await asyncio.wait((asked, self._left), timeout=look_seconds, return_when=asyncio.FIRST_COMPLETED)
                if look_seconds is not None and not asked.done() and not self._left.done():
                    await self._look(look_seconds, asked)
            if asked.done() and not asked.cancelled():
                return asked.result()
            raise ControllerSilent("the controller that was asked is not spoken with any more")
        finally:
            asked.cancel()

    async def _look(self, look_seconds: float, asked: asyncio.Future[T]) -> None:
        """Raises ControllerStandsStill, unless what was asked was answered meanwhile."""
        bound = look_seconds * ANSWER_SECONDS / LOOK_SECONDS
        try:
            await self.channel.unary_unary(HEALTH, bytes, bytes)(ANY_SERVICE, timeout=bound)
        except grpc.aio.UsageError:
            return  # being closed, with time for the calls that are under way
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not asked.done():
                raise ControllerStandsStill(
                    f"the controller is connected, but has answered nothing for {look_seconds + bound:.1f} s"
                ) from error
