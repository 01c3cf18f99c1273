"""Sessions of agents: Hello, the lease, the desired set. No wire types here."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.records.fleet import Session
from seawall.controller.records.runs import Progress
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs.events import Greeted, Moment
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.machine import Execution, wanted
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions, of_attempts
from seawall.controller.services.gathering import Gathering
from seawall.controller.services.heartbeats import MOST, Beat, Said, Traffic, beat_together, session_unknown
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings, microseconds

MOST_HELLOS = 25
"""In one transaction: after an outage a thousand hosts come back at once, and each of a transaction waits for all of it."""
LINGER_SECONDS = 0.1
"""How long heartbeats and new polls wait for others: a lease lasts a hundred times as long, and a poll begins to wait anyway."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What Hello says. `attempts`: id -> its worker still runs."""

    agent_version: str
    boot_id: str
    host_name: str
    hypervisor_version: str
    attempts: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Welcome:
    session_id: str
    abandoned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A Hello, and the session that it begins."""

    agent_id: str
    session_id: str
    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Desired:
    """The full desired set of a host."""

    generation: int
    executions: tuple[Execution, ...]


class Sessions:
    """Belongs to one event loop."""

    def __init__(self, executions: Executions, clock: SteadyClock, timings: Timings, rng: random.Random) -> None:
        self._executions = executions
        self._store = executions.store
        self._clock = clock
        self._timings = timings
        self._random = rng
        self._hellos = Gathering(self._arrive, MOST_HELLOS)
        self._beats = Gathering(self._beat, MOST, LINGER_SECONDS)
        self._polls = Gathering(self._poll, MOST, LINGER_SECONDS)
        self._woken_polls = Gathering(self._poll, MOST)

    async def hello(self, agent_id: str, greeting: Greeting) -> Welcome:
        """Ends the agent's older session, and its attempts that run no more."""
        session_id = uuid7(self._clock)
        abandoned = await self._hellos(_Arrival(agent_id, session_id, greeting))
        _log.info("session.opened", host=agent_id, session_id=session_id, abandoned=abandoned)
        return Welcome(session_id, abandoned)

    async def _arrive(self, some: Sequence[_Arrival]) -> Sequence[tuple[str, ...]]:
        moment = self._now()
        lease_until_us = moment.now_us + microseconds(self._timings.lease_ttl_seconds)
        return await self._executions.change(
            lambda change: [_opened(change, each, moment, lease_until_us) for each in some]
        )

    async def poll(self, agent_id: str, session_id: str, *, woken: bool = False) -> Desired:
        """`woken`: there is news for the host, somebody waits for it. Raises FailedPrecondition/SESSION_UNKNOWN."""
        gathered = self._woken_polls if woken else self._polls
        return await gathered((agent_id, session_id))

    async def _poll(self, some: Sequence[tuple[str, str]]) -> Sequence[Desired | ControllerError]:
        return await self._store.read(lambda transaction: desired_of(transaction, some))

    async def heartbeat(
        self, agent_id: str, session_id: str, reports: dict[str, Progress], traffic: Traffic | None = None
    ) -> Beat:
        """Renews the lease, stores what moved. Raises FailedPrecondition/SESSION_UNKNOWN."""
        return await self._beats(Said(agent_id, session_id, reports, traffic))

    async def _beat(self, some: Sequence[Said]) -> Sequence[Beat | ControllerError]:
        moment = self._now()
        lease_until_us = moment.now_us + microseconds(self._timings.lease_ttl_seconds)
        # Progress starts nothing; what the lease of a host that was away allows comes with the next regular look.
        return await self._executions.change(
            lambda change: beat_together(change, some, moment, lease_until_us), schedule=False
        )

    def _now(self) -> Moment:
        return Moment(self._clock.now_us(), self._timings, self._random.random())


def _opened(change: Change, arrival: _Arrival, moment: Moment, lease_until_us: int) -> tuple[str, ...]:
    """A new session in place of the agent's older one. Ids of the attempts that it names and that do not go on."""
    fleet, agent_id, greeting = change.transaction.fleet, arrival.agent_id, arrival.greeting
    host = fleet.host(agent_id)
    name = greeting.host_name or (host.name if host else agent_id)
    said = (name, greeting.agent_version, greeting.hypervisor_version)
    if host is None or said != (host.name, host.agent_version, host.hypervisor_version):
        fleet.describe_host(agent_id, *said)
    fleet.open_session(Session(agent_id, arrival.session_id, greeting.boot_id, lease_until_us, moment.now_us))
    going_on = set()
    for attempt in change.transaction.runs.live_attempts(agent_id):
        event = Greeted(arrival.session_id, runs=greeting.attempts.get(attempt.id, False))
        if Instruction.ANSWER_FORGET not in change.take(change.load(attempt.id), event, moment).instructions:
            going_on.add(attempt.id)
    return tuple(each for each in greeting.attempts if each not in going_on)


def desired_of(transaction: Transaction, some: Sequence[tuple[str, str]]) -> list[Desired | ControllerError]:
    """For each (agent id, session id) its desired set; FailedPrecondition/SESSION_UNKNOWN for one of another session."""
    ids = [agent_id for agent_id, _ in some]
    sessions = {session.agent_id: session.session_id for session in transaction.fleet.sessions_of(ids)}
    generations = transaction.fleet.generations_of(ids)
    due: dict[str, list[Execution]] = {}
    for execution in of_attempts(transaction, transaction.runs.live_of_hosts(ids)):
        if wanted(execution) is not None:
            due.setdefault(execution.attempt.host_id, []).append(execution)
    return [
        Desired(generations.get(agent_id, 0), tuple(due.get(agent_id, ())))
        if sessions.get(agent_id) == session_id
        else session_unknown()
        for agent_id, session_id in some
    ]


def require_session(transaction: Transaction, agent_id: str, session_id: str) -> None:
    """Raises FailedPrecondition/SESSION_UNKNOWN."""
    session = transaction.fleet.session(agent_id)
    if session is None or session.session_id != session_id:
        raise session_unknown()
