"""The network between agents, operators and controllers: bytes of real requests and answers, each direction with its own faults.

A request that is lost, or whose answer is, ends at its deadline; a port that nobody serves refuses at once. What arrives is carried out
even if its caller has given up by then.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import grpc
from grpc import aio

from .fibres import wait_for
from .process import CURRENT, SERVING, Process
from .server import Refused, SimulatedServer

LATENCY_SECONDS = (0.001, 0.02)
SLOW_SECONDS = (2.0, 25.0)
REFUSED_SECONDS = 0.05


@dataclass
class Weather:
    """Parts of messages, 0 to 1."""

    lost: float = 0.0
    slow: float = 0.0
    twice: float = 0.0


@dataclass
class Network:
    """`cut`: (from, to) pairs of machines between which nothing passes in that direction."""

    loop: asyncio.AbstractEventLoop
    rng: random.Random
    servers: dict[str, tuple[Process, SimulatedServer]] = field(default_factory=dict)
    cut: set[tuple[str, str]] = field(default_factory=set)
    weather: Weather = field(default_factory=Weather)
    detain: Callable[[str, bytes], float] | None = None
    """Method and request -> for how many seconds more it is on its way."""

    def serve(self, address: str, process: Process, server: SimulatedServer) -> None:
        self.servers[address] = (process, server)

    def close(self, address: str, server: SimulatedServer) -> None:
        if address in self.servers and self.servers[address][1] is server:
            del self.servers[address]

    def open(self, address: str) -> bool:
        """Whether somebody listens there."""
        found = self.servers.get(address)
        return found is not None and not found[0].dead

    async def call(self, caller: "Caller", method: str, request: bytes, timeout: float) -> bytes:
        """The answer's bytes. Raises AioRpcError as gRPC's client would."""
        address = caller.dial(self)
        if address is None:
            await asyncio.sleep(min(REFUSED_SECONDS, timeout))
            raise _error(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")
        process, server = self.servers[address]
        machine = address.partition(":")[0]
        arrived: asyncio.Future[bytes] = self.loop.create_future()
        copies = 2 if self.rng.random() < self.weather.twice else 1
        for _ in range(copies):
            delay = self._delay(caller.machine, machine)
            if delay is not None:
                delay += self.detain(method, request) if self.detain else 0.0
                self._carry(process, server, delay, _Message(caller, machine, method, request, arrived))
        # Not asyncio.timeout: in a task that a failed TaskGroup cancelled before (a supervisor's second session), that of Python 3.11.2
        # ends as a cancellation.
        await asyncio.wait({arrived}, timeout=timeout)
        if not arrived.done():
            caller.hang_up()
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        return arrived.result()

    def _delay(self, source: str, target: str) -> float | None:
        """Seconds; None: it is lost."""
        lost, slow, usual = self.rng.random(), self.rng.random(), self.rng.uniform(*LATENCY_SECONDS)
        if (source, target) in self.cut or lost < self.weather.lost:
            return None
        return self.rng.uniform(*SLOW_SECONDS) if slow < self.weather.slow else usual

    def _carry(self, process: Process, server: SimulatedServer, delay: float, message: "_Message") -> None:
        """The handler's task belongs to the server's process."""

        async def handled() -> None:
            SERVING.set(True)
            await asyncio.sleep(delay)
            await process.awake()
            if not server.started:
                await self._answer(message, _error(grpc.StatusCode.UNAVAILABLE, "Connection reset by peer"))
                return
            try:
                answer: bytes | Exception = await server.handle(message.method, message.request, message.caller.who)
            except Refused as refused:
                answer = _error(refused.code, refused.details, refused.trailing)
            await process.awake()
            await self._answer(message, answer)

        task = process.spawn(handled())
        task.add_done_callback(lambda done: message.reset(done))

    async def _answer(self, message: "_Message", answer: bytes | Exception) -> None:
        delay = self._delay(message.server, message.caller.machine)
        if delay is None:
            message.lost = True
            return
        await asyncio.sleep(delay)
        message.deliver(answer)


@dataclass
class _Message:
    caller: "Caller"
    server: str
    method: str
    request: bytes
    answer: "asyncio.Future[bytes]"
    lost: bool = False

    def deliver(self, answer: bytes | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(answer, bytes):
            self.answer.set_result(answer)
        else:
            self.answer.set_exception(answer)

    def reset(self, task: "asyncio.Task[None]") -> None:
        """The server's process was killed in the middle: its kernel tells the caller."""
        if task.cancelled() and not self.lost:
            self.deliver(_error(grpc.StatusCode.UNAVAILABLE, "Socket closed"))


@dataclass
class Who:
    """What a server knows of its caller."""

    peer_uri: bytes = b""
    metadata: tuple[tuple[str, str], ...] = ()
    certificate_pem: bytes = b""


@dataclass
class Caller:
    """One channel: it stays with an address while that is served."""

    machine: str
    addresses: Sequence[str]
    who: Who
    current: str = ""

    def dial(self, network: Network) -> str | None:
        if self.current and network.open(self.current):
            return self.current
        reachable = [address for address in self.addresses if network.open(address) and self._reaches(network, address)]
        self.current = network.rng.choice(reachable) if reachable else ""
        return self.current or None

    def hang_up(self) -> None:
        """Another connection next time, perhaps to another controller."""
        self.current = ""

    def _reaches(self, network: Network, address: str) -> bool:
        machine = address.partition(":")[0]
        return (self.machine, machine) not in network.cut and (machine, self.machine) not in network.cut


Method = Callable[..., Awaitable[Any]]


class AsyncChannel:
    """In the place of `grpc.aio.Channel`."""

    def __init__(self, network: Network, caller: Caller) -> None:
        self._network = network
        self._caller = caller

    def unary_unary(
        self, method: str, request_serializer: Any = bytes, response_deserializer: Any = bytes, **_: Any
    ) -> Method:
        async def call(request: Any, *, timeout: float = 60.0, metadata: Any = None) -> Any:
            process = CURRENT.get()
            if process is not None:
                await process.awake()
            answer = await self._network.call(self._caller, method, request_serializer(request), timeout)
            if process is not None:
                await process.awake()
            return response_deserializer(answer)

        return call

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Method:
        async def call(*_: Any, **__: Any) -> Any:
            raise _error(grpc.StatusCode.UNIMPLEMENTED, "no streams in this simulation")

        return call

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Connections are made for each call: after a failure the agent waits for its next try."""
        return grpc.ChannelConnectivity.READY

    async def close(self, grace: float | None = None) -> None:
        """Nothing to do."""


def _error(code: grpc.StatusCode, details: str, trailing: Sequence[tuple[str, bytes]] = ()) -> aio.AioRpcError:
    metadata = aio.Metadata(*cast("Any", trailing))
    return aio.AioRpcError(code, aio.Metadata(), metadata, details, details)


class BlockingChannel:
    """In the place of `grpc.Channel`: for fibres."""

    def __init__(self, network: Network, caller: Caller) -> None:
        self._channel = AsyncChannel(network, caller)

    def unary_unary(self, method: str, *how: Any, **named: Any) -> "BlockingCall":
        return BlockingCall(self._channel.unary_unary(method, *how, **named))

    def close(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlockingCall:
    """In the place of `grpc.UnaryUnaryMultiCallable`."""

    def __init__(self, call: Method) -> None:
        self._call = call

    def __call__(self, request: Any, timeout: float = 60.0) -> Any:
        return wait_for(lambda: self._call(request, timeout=timeout))

    def future(self, request: Any, timeout: float = 60.0) -> "CallUnderWay":
        return CallUnderWay(asyncio.ensure_future(self._call(request, timeout=timeout)))


class CallUnderWay:
    """In the place of `grpc.Future`."""

    def __init__(self, answer: "asyncio.Future[Any]") -> None:
        self._answer = answer

    def result(self, timeout: float | None = None) -> Any:
        """Raises grpc.FutureTimeoutError, and what the call raises."""

        async def waited() -> Any:
            await asyncio.wait({self._answer}, timeout=timeout)
            if not self._answer.done():
                raise grpc.FutureTimeoutError
            return self._answer.result()

        return wait_for(waited)

    def done(self) -> bool:
        return self._answer.done()

    def cancel(self) -> bool:
        return self._answer.cancel()
