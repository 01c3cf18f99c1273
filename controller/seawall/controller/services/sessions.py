"""Sessions of agents: Hello, the lease, the desired set. No wire types here."""

import random
from dataclasses import dataclass, replace

import structlog

from seawall.controller.admission.shares import told
from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.fleet import Session
from seawall.controller.records.runs import Attempt, AttemptState, Progress, Run
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs.machine import Execution, adopt, report, restarted, wanted
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.store import Transaction
from seawall.controller.timings import Timings, microseconds

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
class Desired:
    """The full desired set of a host."""

    generation: int
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    generation: int
    unknown: tuple[str, ...]
    cancel: tuple[str, ...]
    bytes_per_second: int = 0
    """The host's share of the bandwidth; 0: no limit."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the host's workers would use of the network to the stores, and what they do; bytes per second."""

    demand: int = 0
    rate: int = 0


class Sessions:
    """Belongs to one event loop."""

    def __init__(self, executions: Executions, clock: SteadyClock, timings: Timings, rng: random.Random) -> None:
        self._executions = executions
        self._store = executions.store
        self._clock = clock
        self._timings = timings
        self._random = rng

    async def hello(self, agent_id: str, greeting: Greeting) -> Welcome:
        """Ends the agent's older session, and its attempts that run no more."""
        now_us, jitter, session_id = self._clock.now_us(), self._random.random(), uuid7(self._clock)
        lease_until_us = now_us + microseconds(self._timings.lease_ttl_seconds)

        def closure(change: Change) -> tuple[str, ...]:
            fleet = change.transaction.fleet
            host = fleet.host(agent_id)
            name = greeting.host_name or (host.name if host else agent_id)
            fleet.describe_host(agent_id, name, greeting.agent_version, greeting.hypervisor_version)
            fleet.open_session(Session(agent_id, session_id, greeting.boot_id, lease_until_us, now_us))
            for attempt in change.transaction.runs.live_attempts(agent_id):
                self._reconcile(change, attempt, session_id, greeting, now_us, jitter)
            return tuple(each for each in greeting.attempts if not _goes_on(change.transaction, each, agent_id))

        abandoned = await self._executions.change(closure)
        _log.info("session.opened", host=agent_id, session_id=session_id, abandoned=abandoned)
        return Welcome(session_id, abandoned)

    def _reconcile(
        self, change: Change, attempt: Attempt, session_id: str, greeting: Greeting, now_us: int, jitter: float
    ) -> None:
        before = change.load(attempt.id)
        if attempt.state is AttemptState.ASSIGNED or attempt.state is AttemptState.PUBLISHING:
            return
        if greeting.attempts.get(attempt.id, False):
            change.save(before, adopt(before, session_id, now_us, self._timings))
        else:
            change.save(before, restarted(before, now_us, self._timings, jitter))

    async def poll(self, agent_id: str, session_id: str) -> Desired:
        """Raises FailedPrecondition/SESSION_UNKNOWN."""

        def closure(transaction: Transaction) -> Desired:
            require_session(transaction, agent_id, session_id)
            host = transaction.fleet.host(agent_id)
            live = transaction.runs.live_attempts(agent_id)
            found = [Execution(run, each) for each in live if (run := transaction.runs.run(each.run_id)) is not None]
            due = tuple(each for each in found if wanted(each) is not None)
            return Desired(host.generation if host else 0, due)

        return await self._store.read(closure)

    async def heartbeat(
        self, agent_id: str, session_id: str, reports: dict[str, Progress], traffic: Traffic | None = None
    ) -> Beat:
        """Renews the lease, stores what moved. Raises FailedPrecondition/SESSION_UNKNOWN."""
        now_us = self._clock.now_us()
        lease_until_us = now_us + microseconds(self._timings.lease_ttl_seconds)

        def closure(change: Change) -> Beat:
            require_session(change.transaction, agent_id, session_id)
            change.transaction.fleet.renew_session(agent_id, session_id, lease_until_us, now_us)
            beat = self._reported(change, agent_id, reports, now_us)
            share = told(change.transaction, agent_id, traffic.demand, traffic.rate, now_us) if traffic else 0
            return replace(beat, bytes_per_second=share)

        # Progress starts nothing; what the lease of a host that was away allows comes with the next regular look.
        return await self._executions.change(closure, schedule=False)

    def _reported(self, change: Change, agent_id: str, reports: dict[str, Progress], now_us: int) -> Beat:
        unknown: list[str] = []
        cancel: list[str] = []
        db_epoch = change.transaction.leadership.db_epoch()
        for attempt_id, progress in reports.items():
            attempt = change.transaction.runs.attempt(attempt_id)
            before = change.load(attempt_id) if attempt and attempt.host_id == agent_id else None
            if before is None or not before.current or before.attempt.db_epoch != db_epoch:
                unknown.append(attempt_id)
                continue
            self._progress(change, before, progress, now_us)
            if before.run.cancel_us and before.attempt.state is not AttemptState.PUBLISHING:
                cancel.append(attempt_id)
        host = change.transaction.fleet.host(agent_id)
        return Beat(host.generation if host else 0, tuple(unknown), tuple(cancel))

    def _progress(self, change: Change, before: Execution, progress: Progress, now_us: int) -> None:
        runs = change.transaction.runs
        known = runs.progress_of([before.attempt.id]).get(before.attempt.id)
        if known is not None and progress.seq <= known.seq:
            change.save(before, report(before, progress.state, False, now_us, self._timings))
            return
        change.save(before, report(before, progress.state, _moved(known, progress), now_us, self._timings))
        runs.save_progress(before.attempt.id, progress, now_us)


def require_session(transaction: Transaction, agent_id: str, session_id: str) -> None:
    """Raises FailedPrecondition/SESSION_UNKNOWN."""
    session = transaction.fleet.session(agent_id)
    if session is None or session.session_id != session_id:
        raise FailedPrecondition("SESSION_UNKNOWN", "This session is over or unknown; call Hello again.")


def _goes_on(transaction: Transaction, attempt_id: str, agent_id: str) -> bool:
    """A journalled attempt that is not over: of this host, current, live."""
    attempt = transaction.runs.attempt(attempt_id)
    run: Run | None = transaction.runs.run(attempt.run_id) if attempt else None
    if attempt is None or run is None or attempt.host_id != agent_id:
        return False
    return Execution(run, attempt).current


def _moved(before: Progress | None, after: Progress) -> bool:
    return before is None or _bytes(after) > _bytes(before) or after.phase != before.phase


def _bytes(progress: Progress) -> int:
    return sum(disk.read_bytes + disk.stored_bytes for disk in progress.disks)
