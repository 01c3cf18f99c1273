"""Where the simulation puts its own things into the real code: ports to the outside, threads, chance. Nothing that decides is replaced."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import agent, controller, maintenance
from .fibres import at_once
from .locks import ParkedLock
from .network import AsyncChannel, BlockingChannel, Caller, Who
from .sizes import Pace

_EXECUTORS = (
    "seawall.repository.writing.crew",
    "seawall.repository.reading.restore",
    "seawall.repository.collecting.hands",
    "seawall.controller.forgetting.deletion",
    "seawall.controller.repositories.readers",
)
_Random = random.Random


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """While it lasts, all chance of the product comes from the seed, but for keys and signatures of certificates, which nobody reads."""
    chance = _Random(f"{seed}/chance")
    with _patched(_chances(chance, _Random(f"{seed}/sealing"))):
        state = random.getstate()
        random.seed(f"{seed}/module")
        try:
            yield
        finally:
            random.setstate(state)


@contextmanager
def planted(seed: str, cluster_id: str, pace: Pace) -> Iterator[None]:
    """While it lasts, the product runs inside the simulation and all chance comes from the seed."""
    _Done.numbers = itertools.count()
    with seeded(seed), _patched(_replacements(cluster_id, pace)):
        yield


@contextmanager
def _patched(replacements: Iterable[tuple[str, Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, value in replacements:
            stack.enter_context(patch(target, value))
        yield


def _chances(chance: random.Random, sealing: random.Random) -> Iterator[tuple[str, Any]]:
    def bytes_of(length: int) -> bytes:
        return chance.randbytes(length)

    class Seeded(_Random):
        def __init__(self, x: Any = None) -> None:
            super().__init__(chance.getrandbits(64) if x is None else x)

    yield "os.urandom", bytes_of
    yield "random._urandom", bytes_of
    yield "random.Random", Seeded
    yield "seawall.repository.crypto.sealing._SUITE", _Suite(sealing)
    key = SimpleNamespace(generate=lambda: X25519PrivateKey.from_private_bytes(bytes_of(32)))
    yield "seawall.controller.initialise.X25519PrivateKey", key


class _Suite:
    """In the place of HPKE, whose ephemeral keys no seed decides: what is sealed is in packs, whose names are hashes of all their bytes.

    Nobody listens here: what is opened with the right key and `info` is what was sealed, and nothing else opens.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def encrypt(self, plaintext: bytes, public_key: X25519PublicKey, info: bytes) -> bytes:
        first = self._chance.randbytes(32)
        return first + self._cipher(first, public_key, info).encrypt(b"\0" * 12, plaintext, None)

    def decrypt(self, sealed: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
        return self._cipher(sealed[:32], private_key.public_key(), info).decrypt(b"\0" * 12, sealed[32:], None)

    def _cipher(self, first: bytes, public_key: X25519PublicKey, info: bytes) -> AESGCM:
        return AESGCM(blake3(first + public_key.public_bytes_raw() + info).digest())


def _replacements(cluster_id: str, pace: Pace) -> Iterator[tuple[str, Any]]:
    yield "seawall.controller.app.open_database", controller.open_database
    yield "seawall.controller.database.leadership.LeadershipRows.connected", controller.connected
    yield "seawall.controller.services.backup_service.UnprotectedVms", controller.ComparedUnprotectedVms
    yield "seawall.controller.server.ports.aio", controller.SimulatedAio
    yield "seawall.controller.server.ports._credentials", lambda *_, **__: None
    yield "seawall.controller.repositories.catalogue.threading", SimpleNamespace(Lock=ParkedLock, Event=_Flag)
    yield "seawall.controller.repositories.opened.threading", SimpleNamespace(Lock=ParkedLock)
    yield "seawall.controller.recovering.decisions.threading", SimpleNamespace(Lock=ParkedLock)
    yield "seawall.repository.held_keys.threading", SimpleNamespace(Lock=ParkedLock)
    yield "seawall.controller.maintenance.supervisor.WorkerProcess", maintenance.SimulatedMaintenance
    yield "seawall.agent.control.channel.grpc", _grpc(cluster_id)
    yield "seawall.agent.control.channel._credentials", lambda identity: identity
    yield "seawall.agent.supervisor.supervisor.serve_health", _no_health
    yield "seawall.agent.supervisor.supervisor.agent_version", lambda: "0.1.0"  # else read from the disk at each Hello
    yield "seawall.agent.supervisor.starting.start_worker", agent.start_worker
    yield "seawall.agent.supervisor.heartbeat.BUSY_SECONDS", pace.busy_heartbeat
    yield "seawall.controller.scheduler.loop.DEBOUNCE_SECONDS", pace.debounce
    yield "seawall.controller.hooks.runner.LEAST_PAUSE_SECONDS", pace.hooks
    yield "seawall.controller.services.sessions.LINGER_SECONDS", pace.linger
    for module in _EXECUTORS:
        yield f"{module}.ThreadPoolExecutor", InlineExecutor


class _Flag:
    """`threading.Event`, as far as it is set and looked at."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


class _Done(Future[Any]):
    """Hashed by the order in which they were made, as the loop's own are (loop.py)."""

    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._number = next(self.numbers)

    def __hash__(self) -> int:
        return self._number


class InlineExecutor:
    """An Executor whose jobs are done by whoever submits them, one after another. What is mapped waits as if as many waited at once."""

    def __init__(self, threads: int = 1, *_: Any, **__: Any) -> None:
        self._threads = threads

    def submit(self, job: Callable[..., Any], *args: Any, **named: Any) -> "Future[Any]":
        future = _Done()
        try:
            future.set_result(job(*args, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, job: Callable[..., Any], *items: Any) -> Iterator[Any]:
        with at_once(self._threads):
            return iter([job(*each) for each in zip(*items, strict=False)])

    def shutdown(self, *_: Any, **__: Any) -> None:
        """Nothing runs."""

    def __enter__(self) -> "InlineExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs."""


def _grpc(cluster_id: str) -> SimpleNamespace:
    """What `control.channel` asks of grpc."""

    def caller(target: str, identity: Any) -> Caller:
        addresses = target.partition(":")[2] if target.startswith("ipv4:") else target
        peer = f"seawall://{cluster_id}/agent/{identity.agent_id}".encode()
        return Caller(
            agent.current_host().machine,
            addresses.split(","),
            Who(peer, certificate_pem=identity.certificate_pem.encode()),
        )

    def blocking(target: str, identity: Any, options: Any = ()) -> BlockingChannel:
        return BlockingChannel(agent.current_host().world.network, caller(target, identity))

    def asynchronous(target: str, identity: Any, options: Any = ()) -> AsyncChannel:
        return AsyncChannel(agent.current_host().world.network, caller(target, identity))

    return SimpleNamespace(
        Channel=BlockingChannel,
        secure_channel=blocking,
        aio=SimpleNamespace(Channel=AsyncChannel, secure_channel=asynchronous),
    )


async def _no_health(run_dir: Any, health: Any) -> Any:
    return SimpleNamespace(close=lambda: None)
