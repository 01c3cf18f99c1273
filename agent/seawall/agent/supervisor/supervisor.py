"""The supervisor: one per host, does no data work.

It keeps a session with the controller, starts and ends workers, and clears up after them.
Built by `app.run`. Everything here runs in one event loop; libvirt, SQLite sweeps and file writes of note go to threads.
"""

import asyncio
import socket
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog

from seawall.agent.adopted import Adopted, inherits_orphans
from seawall.agent.config import AgentConfig
from seawall.agent.control.catching_up import catch_up, root_ahead
from seawall.agent.control.errors import ClockWrong, ControllerSilent, SessionUnknown
from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Session
from seawall.agent.control.recovery import recover
from seawall.agent.errors import AgentError
from seawall.agent.health import AgentHealth, serve_health
from seawall.agent.hypervisor.port import Hypervisor, LeftMs, Located
from seawall.agent.journal import Journal
from seawall.agent.supervisor.heartbeat import Heartbeat
from seawall.agent.supervisor.inventory import Inventory
from seawall.agent.supervisor.leftovers import Leftovers, kill_orphans
from seawall.agent.supervisor.link import HostFacts, Link
from seawall.agent.supervisor.poll import Polling
from seawall.agent.supervisor.renewal import Renewal
from seawall.agent.supervisor.reports import Reporting
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.steps import repeat
from seawall.agent.supervisor.timing import Backoff, Timing
from seawall.agent.supervisor.workers import Workers
from seawall.repository.clock import Clock, microseconds_of

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SKEW_WARNING_US = 60_000_000

_log = structlog.get_logger("seawall.agent.supervisor")


class Supervisor:
    """Make it, `await run()`; `stop()` from a signal handler of the same loop ends it in an orderly way."""

    def __init__(
        self,
        config: AgentConfig,
        identity: Identity,
        hypervisor: Hypervisor,
        journal: Journal,
        clock: Clock,
        worker_command: Sequence[str],
        timing: Timing | None = None,
        left_ms: LeftMs = dict,
        located: Located = tuple,
    ) -> None:
        self._config = config
        self._hypervisor = hypervisor
        self._journal = journal
        self._clock = clock
        self._timing = timing or Timing()
        self._state = SupervisorState(identity)
        self._leftovers = Leftovers(config, hypervisor, journal)
        self._workers = Workers(config, identity.agent_id, journal, self._leftovers, self._timing, worker_command)
        self._left_ms = left_ms
        self._located = located
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`. On return no worker lives and what they left is swept."""
        await asyncio.to_thread(self._kill_orphans)
        await self._sweep()
        health = await serve_health(self._config.run_dir, self.health)
        link = Link(self._state.identity, self._config.controllers, self._timing)
        tasks = [
            asyncio.create_task(self._sessions(link)),
            asyncio.create_task(self._leftovers.sweep_again(self._workers.live, self._timing)),
            asyncio.create_task(self._share_bandwidth()),
        ]
        if inherits_orphans():
            tasks.append(asyncio.create_task(self._see_off_adopted()))
        try:
            await self._stop.wait()
            _log.info("agent_stopping")
        finally:
            await _cancel(tasks)
            await self._workers.stop_all()
            await self._last_reports(link)
            await self._sweep()
            health.close()
            await link.close()
        _log.info("agent_stopped")

    def health(self) -> AgentHealth:
        state = self._state
        return AgentHealth(
            agent_id=state.identity.agent_id,
            agent_version=agent_version(),
            controller=",".join(self._config.controllers) or state.identity.address,
            connected=self._clock.monotonic_seconds() < state.lease_until,
            last_heartbeat_us=state.last_heartbeat_us,
            last_error=state.last_error,
            hypervisor=state.hypervisor,
            vm_count=state.vm_count,
            certificate_expires_us=microseconds_of(state.identity.lifetime()[1]),
            attempts=self._workers.health(),
        )

    async def _sessions(self, link: Link) -> None:
        """Hello, then the loops, for ever. The one place where an unforeseen error of theirs ends: logged, then a new session."""
        backoff = Backoff(self._timing.first_backoff, self._timing.longest_backoff)
        while True:
            try:
                await self._recover_if_expired(link)
                session = await self._hello(link)
                backoff.reset()
                await self._serve(link, session)
            except SessionUnknown:
                _log.info("session_over")
                pause = backoff.next_seconds()
            except ControllerSilent as error:
                pause = self._failed("hello_failed", error, backoff.next_seconds())
                pause = 0.0 if await self._catch_up(link) else pause
            except AgentError as error:
                pause = self._failed("hello_refused", error, self._timing.refused_backoff)
            except Exception as error:
                _log.exception("session_crashed")
                pause = self._failed("session_crashed", error, self._timing.longest_backoff)
            await asyncio.sleep(pause)

    async def _see_off_adopted(self) -> None:
        adopted = Adopted()
        while True:
            await asyncio.sleep(self._timing.look)
            reaped = adopted.see_off({attempt.pid for attempt in self._workers.health()})
            if reaped:
                _log.info("orphans_seen_off", pids=reaped)

    async def _share_bandwidth(self) -> None:
        """Apart from the sessions: a share ends without contact too, and workers' needs change all the time."""
        while True:
            try:
                await self._workers.share(self._state.share.limit(self._clock.monotonic_seconds()))
            except Exception:
                # The top of the loop: whatever it was, the next division begins anew.
                _log.exception("bandwidth_not_shared")
            await asyncio.sleep(self._timing.share)

    def _failed(self, event: str, error: Exception, pause: float) -> float:
        self._state.last_error = str(error)
        identity, now_us = self._state.identity, self._clock.now_us()
        if identity.expired(now_us):
            self._state.last_error += (
                "; the certificate of this host has expired: set its clock right, or join it again with --force"
            )
        elif identity.not_yet_valid(now_us):
            self._state.last_error += "; the certificate of this host is not valid yet: set its clock right, by NTP"
        elif "CERTIFICATE_VERIFY_FAILED" in str(error):
            self._state.last_error += (
                "; what answers is not the controller that this host joined, or the clock of one of the two is wrong"
            )
        _log.warning(event, error=self._state.last_error, retry_in_seconds=round(pause, 1))
        return pause

    async def _recover_if_expired(self, link: Link) -> None:
        """After a long time away the host proves the key of its old certificate, and goes on as the same host. Raises AgentError."""
        identity = self._state.identity
        if not identity.enrol_addresses or not identity.expired(self._clock.now_us()):
            return
        renewed = await asyncio.to_thread(recover, identity, self._config.state_dir)
        self._state.identity = renewed
        if renewed.expired(self._clock.now_us()):
            raise ClockWrong(
                f"even a new certificate ended by this host's clock, at {renewed.lifetime()[1]:%Y-%m-%d %H:%M} UTC"
            )
        _log.info("certificate_recovered", expires=renewed.lifetime()[1].isoformat())
        link.replace(renewed)

    async def _catch_up(self, link: Link) -> bool:
        """Whether this host was behind: the certificate authority was replaced while it was away."""
        try:
            found = await asyncio.to_thread(
                catch_up, self._state.identity, self._config.state_dir, self._clock.now_us()
            )
        except AgentError as error:
            self._failed("not_caught_up", error, 0.0)
            return False
        except Exception as error:
            # It is called where an error of `_sessions` ends, and would end that: a full disk is met again at the next try.
            _log.exception("not_caught_up")
            self._failed("not_caught_up", error, 0.0)
            return False
        if found is None:
            return False
        self._state.identity = found
        _log.info("authority_followed", roots=[each.hex() for each in found.trusted_sha256])
        link.replace(found)
        return True

    async def _look_ahead(self) -> float:
        """Out of touch, whether the authority was replaced meanwhile: every call of the session would fail until its certificate ends.

        Raises SessionUnknown: the next Hello catches up.
        """
        identity = self._state.identity
        if identity.enrol_addresses and self._clock.monotonic_seconds() >= self._state.lease_until:
            ahead = await asyncio.to_thread(root_ahead, identity, self._clock.now_us())
            if ahead is not None:
                raise SessionUnknown("the certificate authority was replaced while this host was out of touch")
        return self._timing.look

    async def _hello(self, link: Link) -> Session:
        await self._workers.started()
        in_hand = self._workers.in_hand()
        journalled = await asyncio.to_thread(self._journal.open_attempts)
        gone = [attempt.ref for attempt in journalled if attempt.ref not in in_hand]
        sent = self._clock.monotonic_seconds()
        session, trust = await link.hello(
            await self._facts(), [(ref, True) for ref in in_hand] + [(ref, False) for ref in gone]
        )
        self._state.session, self._state.generation = session, None
        self._state.hear(trust)
        self._state.lease_until = sent + session.lease_seconds
        self._state.last_error = ""
        for ref in gone:
            await asyncio.to_thread(self._journal.end_attempt, ref.attempt_id, "the agent restarted")
        self._warn_of_skew(session)
        _log.info("session_opened", session=session.session_id, attempts=len(in_hand), lost=len(gone))
        await self._workers.new_session(session.session_id)
        return session

    async def _facts(self) -> HostFacts:
        try:
            self._state.hypervisor = await asyncio.to_thread(self._hypervisor.version)
        except AgentError as error:
            self._state.hypervisor = ""
            _log.warning("hypervisor_silent", error=str(error))
        name = self._config.host_name or self._state.identity.host_name or socket.gethostname()
        return HostFacts(agent_version(), BOOT_ID.read_text().strip(), name, self._state.hypervisor)

    def _warn_of_skew(self, session: Session) -> None:
        skew_us = self._clock.now_us() - session.server_time_us
        if session.server_time_us and abs(skew_us) > SKEW_WARNING_US:
            _log.warning("clock_differs_from_the_controllers", seconds=skew_us // 1_000_000)

    async def _serve(self, link: Link, session: Session) -> None:
        """The session's loops until one says that it is over. Raises SessionUnknown, or the group of what else went wrong."""
        polling = Polling(link, session, self._workers, self._state)
        steps = {
            "poll": polling.step,
            "heartbeat": Heartbeat(link, session, self._workers, self._state, self._clock).step,
            "inventory": Inventory(
                link,
                session,
                self._hypervisor,
                self._left_ms,
                self._state,
                self._timing,
                self._clock,
                self._located,
            ).step,
            "renewal": Renewal(link, self._state, self._config, self._timing, self._clock).step,
            "reports": Reporting(link, session, self._workers, polling).step,
            "authority": self._look_ahead,
        }
        try:
            async with asyncio.TaskGroup() as group:
                for name, step in steps.items():
                    backoff = Backoff(self._timing.first_backoff, self._timing.longest_backoff)
                    group.create_task(repeat(name, step, backoff, self._state, link.rest))
        except ExceptionGroup as failures:
            if failures.subgroup(SessionUnknown) is not None:
                raise SessionUnknown("the controller does not know this session") from failures
            raise

    def _kill_orphans(self) -> None:
        kill_orphans(self._journal.open_attempts())

    async def _sweep(self) -> None:
        """What cannot be done now is said, and tried again while the agent runs."""
        self._state.last_error = await self._leftovers.sweep(self._workers.live) or self._state.last_error

    async def _last_reports(self, link: Link) -> None:
        """What was killed at the end, told if the controller answers in time; else it learns from the next Hello."""
        session = self._state.session
        if session is None or not self._workers.reports:
            return
        try:
            async with asyncio.timeout(self._timing.final_reports):
                await Reporting(
                    link, session, self._workers, Polling(link, session, self._workers, self._state)
                ).deliver()
        except (AgentError, TimeoutError) as error:
            _log.warning("reports_undelivered", count=len(self._workers.reports), error=str(error))


def agent_version() -> str:
    try:
        return version("seawall")
    except PackageNotFoundError:
        return "unpackaged"


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
