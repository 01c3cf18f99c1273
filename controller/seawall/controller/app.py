"""The controller's composition root: builds everything once, serves both ports until SIGTERM or SIGINT, and lets go of everything."""

import asyncio
import logging
import math
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import structlog

from seawall.api.v1 import (
    agent_pb2_grpc,
    enroll_pb2_grpc,
    limits_pb2_grpc,
    operator_pb2_grpc,
    policy_pb2_grpc,
    user_pb2_grpc,
)
from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.admission.shares import Shares
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.following import Following, agree
from seawall.controller.certificates.rotating import Rotating
from seawall.controller.certificates.server_certificate import ServerCertificate
from seawall.controller.certificates.telling import Telling
from seawall.controller.config import ControllerConfig
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.database.opening import open_database
from seawall.controller.enrolment.enrol import Enrolment
from seawall.controller.enrolment.nonces import Nonces
from seawall.controller.enrolment.recover import Recovery
from seawall.controller.enrolment.service import EnrollServicer
from seawall.controller.enrolment.tries import WrongTries
from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.forgetting.reclaim import Reclaim
from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.directory import HookDirectory
from seawall.controller.hooks.noticing import Noticing
from seawall.controller.hooks.runner import HookRunner
from seawall.controller.initialise import load_operator_token_hashes, load_wrapper_key, require_initialised
from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.maintenance.ledger_calls import Calls, ledger_calls
from seawall.controller.maintenance.supervisor import Supervisor
from seawall.controller.maintenance.verify_jobs import VerifyJobs
from seawall.controller.maintenance.verify_schedule import Verification
from seawall.controller.memory import give_back, keep_few_arenas
from seawall.controller.moving.noting import MoveNotes
from seawall.controller.policies.expiring import Expiring
from seawall.controller.publishing.finisher import finish_intents
from seawall.controller.publishing.promotion import OnStep, Promotion
from seawall.controller.publishing.publisher import Publisher
from seawall.controller.records.leadership import Replica
from seawall.controller.records.maintenance import Job, JobKind
from seawall.controller.records.users import User
from seawall.controller.recovering.exporter import Exporter
from seawall.controller.repositories.add import RepositoryAdder
from seawall.controller.repositories.catalogue import Keys, OpenStore, RepositoryCatalogue
from seawall.controller.repositories.health import StoreHealth, watch_stores
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import told
from seawall.controller.repositories.probing import RepositoryProber
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.closing import Closing
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.firing import Firing
from seawall.controller.scheduler.following import follow_others
from seawall.controller.scheduler.history import History
from seawall.controller.scheduler.leading import LeaderLease, keep_lead, new_replica, wait_for_lead
from seawall.controller.scheduler.loop import schedule
from seawall.controller.scheduler.policy_loop import keep_policies
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.secrets import SecretBox
from seawall.controller.server.auth import agent_auth, operator_auth
from seawall.controller.server.callers import Callers
from seawall.controller.server.changes import after_changes
from seawall.controller.server.drain import Drain, end_tasks
from seawall.controller.server.page_tokens import page_tokens
from seawall.controller.server.ports import BoundPorts, Servers
from seawall.controller.server.revocation import RevocationCheck
from seawall.controller.server.roles import role_required
from seawall.controller.server.standby import leader_only, repository_of_leader
from seawall.controller.services.admin_service import AdminServicer, EnrolPlace
from seawall.controller.services.agent_service import AgentServicer
from seawall.controller.services.attempts import Attempts
from seawall.controller.services.backup_service import BackupServicer
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.explaining import Explaining
from seawall.controller.services.forgetting import Forgetting
from seawall.controller.services.grants import Grants
from seawall.controller.services.holding import Holding
from seawall.controller.services.inventory import Inventories
from seawall.controller.services.jobs import JobOrders
from seawall.controller.services.limit_service import LimitServicer
from seawall.controller.services.limits import LimitOrders
from seawall.controller.services.moved import Moved, terms_of
from seawall.controller.services.once import Once
from seawall.controller.services.orders import Orders
from seawall.controller.services.outdated import OutdatedHosts
from seawall.controller.services.policy_service import PolicyServicer
from seawall.controller.services.protocol import SPOKEN, Protocols
from seawall.controller.services.revoking import Revoking
from seawall.controller.services.sessions import Sessions
from seawall.controller.services.transfers import Transfers
from seawall.controller.services.user_service import UserServicer
from seawall.controller.services.watching_all import make_watches
from seawall.controller.timings import Timings, microseconds
from seawall.controller.vitals.readiness import Readiness
from seawall.controller.vitals.vitals import Vitals
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.store.locate import open_store

REOPEN_SECONDS = 2.0
FIRST_LOOK_SECONDS = 15.0
"""So long policies and exports wait for the first look at all buckets."""
LEAST_SECONDS = 2.0
"""So long the leader's tasks have to end, however long calls under way took."""
_HANGS = (
    "This controller lost the lead, and calls that it made as leader do not end: most likely a store does not answer them. They end with "
    "the process alone: start it again (a service does so by itself), then see `seawall status`."
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outside:
    """What the controller takes from its surroundings; tests bring their own."""

    clock: Clock
    open_store: OpenStore = open_store
    timings: Timings | None = None
    """None: what the configuration says."""
    on_publish_step: OnStep = lambda step: None
    on_delete_step: OnStep = lambda step: None
    protocols: Protocols = SPOKEN


class Application:
    """One controller. Made inside a running event loop; `start`, then `wait`, then `stop`."""

    def __init__(self, config: ControllerConfig, outside: Outside, replica: Replica | None = None) -> None:
        """Opens the database. `replica`: this process, where others may be on the same database.

        Raises FailedPrecondition/NOT_INITIALISED, DATABASE_IN_USE, SCHEMA_TOO_NEW; DataLoss."""
        require_initialised(config.paths)
        self._config = config
        self._wall = outside.clock
        self._clock = SteadyClock(outside.clock)
        self._timings = outside.timings or config.timings
        self._protocols = outside.protocols
        self._box = SecretBox.from_file(config.paths.kek)
        self._authority = CertificateAuthority.load(config.paths, self._box, outside.clock)
        keys = Keys(load_wrapper_key(config.paths, self._box), self._box)
        self._callers = Callers(load_operator_token_hashes(config.paths), self._users, outside.clock)
        self.drain = Drain()
        self._wakes = Wakes()
        self._blocking = Blocking()
        self._random = random.Random()  # noqa: S311 (spreads retries; no secret)
        shared = (replica or own_replica(config)) if config.is_shared else None
        self._database = open_database(config, shared.id if shared else "")
        database_folder = None if config.is_shared else config.paths.database.parent
        agree(self._database, self._authority)
        self._telling = Telling(self._authority)
        self._outdated = OutdatedHosts(self._clock)
        self._vitals = Vitals(outside.clock, self._clock, self._timings, database_folder)
        self._database.on_failed_write = self._vitals.write_failed
        self._executions = Executions(self._database, self._wakes)
        self._lease = LeaderLease(self._database, self._clock, self._timings, shared)
        self._repositories = RepositoryCatalogue(
            self._database, keys, config.paths, self._lease, outside.clock, outside.open_store
        )
        self._health = StoreHealth(self._repositories, outside.clock)
        self._promotion = Promotion(
            self._database, self._repositories, self._lease, self._clock, self._timings, outside.on_publish_step
        )
        self._publisher = Publisher(self._database, self._repositories, self._lease, self._clock, self._promotion)
        self._deletions = Deletions(
            self._database, self._repositories, self._lease, self._clock, outside.on_delete_step
        )
        self._supervisor = self._make_supervisor()
        self._mirror = FleetMirror()
        self._once = Once(self._database, self._clock, self._timings)
        self._rotating = Rotating(
            self._database, self._authority, self._box, self._lease, self._once, self._clock, self._timings
        )
        self._tick = Tick(
            self._executions,
            self._lease,
            self._clock,
            self._timings,
            self._random,
            self._mirror,
            lambda: self._vitals.may_start,
            self._wall,
        )
        self._exporter = Exporter(
            self._database,
            self._repositories,
            self._lease,
            self._blocking,
            self._clock,
            self._timings,
            self._authority.cluster_id,
        )
        self._hooks = Caller(HookDirectory(config.hook_directory), outside.clock)
        self._servers = self._make_servers(outside.clock)
        self._readiness = Readiness(self._servers.ready)
        self._tasks: list[asyncio.Task[None]] = []
        self._taking_part: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self.lost_lead = False
        """Why it drains: another controller leads now, or the database's server is another one. Begin anew."""
        self.failure: ControllerError | None = None
        """Why it drains: it won the lead and cannot serve agents."""

    async def start(self) -> BoundPorts:
        """Serve, lead, begin the work in the background. Where others may lead: serve, and lead once nobody else does.

        Raises Unavailable/PORT_IN_USE, NOT_LEADER.
        """
        try:
            if self._lease.shared:
                await self._meet()
                ports = await self._servers.start()
                following = follow_others(self._database, self._wakes, self.drain, self._timings.watch_interval_seconds)
                self._tasks = [asyncio.create_task(following)]
                self._taking_part = asyncio.create_task(self._take_part())
            else:
                await self._lease.acquire()
                ports = await self._servers.start()
                self._lead()
        except ControllerError:
            self._close()
            raise
        authority = Following(self._database, self._authority, self._telling, self._clock)
        self._tasks += [
            asyncio.create_task(self._vitals.run(self._readiness.of("vitals"), self.drain)),
            asyncio.create_task(authority.run(self.drain, self._timings.watch_interval_seconds)),
        ]
        _log.info("controller.started", operator_port=ports.operator, agent_port=ports.agent, version=_version())
        return ports

    async def _meet(self) -> None:
        """A database that is away just now is waited for later, with the time that this machine has."""
        try:
            await self._lease.meet()
        except ControllerError as error:
            _log.warning("leader.not_known", reason=error.reason, error=str(error))

    async def _take_part(self) -> None:
        """Stand by, lead, and end when the lead is lost: what this process then holds in memory is another one's to know."""
        timings, drain, ready = self._timings, self.drain, self._readiness.of("database")
        try:
            if await wait_for_lead(self._lease, timings.leader_look_seconds, drain, ready):
                self._lead()
                _log.info("controller.leads")
                self.lost_lead = await keep_lead(self._lease, timings.leader_renew_seconds, drain, ready)
        except ControllerError as error:
            self.failure = error
        finally:
            drain.start()

    def _lead(self) -> None:
        timings, drain = self._timings, self.drain
        self._tasks += [
            asyncio.create_task(
                schedule(self._tick, self._lease, self._wakes, drain, timings.scheduler_interval_seconds)
            ),
            asyncio.create_task(
                finish_intents(self._promotion, self._blocking, self._wakes, drain, timings.publish_retry_seconds)
            ),
            asyncio.create_task(
                finish_intents(self._deletions, self._blocking, self._wakes, drain, timings.publish_retry_seconds)
            ),
            asyncio.create_task(self._supervisor.run(drain)),
            asyncio.create_task(Shares(self._database, self._lease, self._clock, timings).run(drain)),
            asyncio.create_task(self._once_opened(self._keep_policies)),
            asyncio.create_task(self._expiring().run(drain)),
            asyncio.create_task(
                HookRunner(self._executions, self._lease, self._hooks, self._clock, timings).run(drain)
            ),
            asyncio.create_task(Noticing(self._executions, self._lease, self._wall, self._clock, timings).run(drain)),
            asyncio.create_task(
                Verification(self._database, self._lease, self._wakes, self._clock, timings).run(drain)
            ),
            asyncio.create_task(self._open_repositories()),
            asyncio.create_task(History(self._database, self._lease, self._wall, self._clock, timings).run(drain)),
            asyncio.create_task(self._once_opened(partial(self._exporter.run, drain))),
            asyncio.create_task(self._rotating.run(drain, timings.watch_interval_seconds)),
            asyncio.create_task(watch_stores(self._health, self._database, self._blocking, drain)),
        ]
        for task in self._tasks:
            task.add_done_callback(_tell_of_death)

    async def wait(self) -> None:
        """Returns when the drain starts."""
        await self.drain.wait()

    async def stop(self) -> None:
        """Open polls are answered at once; calls under way, and what the leader does beside them, get their grace together."""
        began = self._clock.monotonic_seconds()
        self.drain.start()
        self._repositories.begin_close()
        await self._servers.stop()
        if self._taking_part is not None:
            await self._taking_part
        left_seconds = self._timings.drain_grace_seconds - (self._clock.monotonic_seconds() - began)
        for task in await end_tasks(self._tasks, max(LEAST_SECONDS, left_seconds)):
            _log.warning("controller.task_given_up", task=str(task.get_coro()))
        try:
            if self._lease.held:
                await self._lease.release()
        except ControllerError as error:
            _log.warning("leader.not_released", reason=error.reason, error=str(error))
        await asyncio.to_thread(self._close)
        _log.info("controller.stopped")

    def _close(self) -> None:
        self._blocking.close()
        self._repositories.close()
        self._database.close()

    async def hangs(self) -> bool:
        """Once it was stopped: whether a thread that waits for a store was left behind."""
        return await asyncio.to_thread(self._blocking.hangs)

    async def _open_repositories(self) -> None:
        """Tells each bucket of the new epoch and rebuilds lost indexes early. One that cannot be reached is opened when it is needed."""
        for record in await self._database.read(lambda transaction: transaction.repositories.repositories()):
            try:
                await self._blocking.run(partial(self._repositories.open, record.id))
            except ControllerError as error:
                _log.warning("repository.not_opened", repository=record.name, reason=error.reason, error=str(error))
            except Exception:
                # The top of a task: the calls that need the repository meet the same, and say so.
                _log.exception("repository.not_opened", repository=record.name)
        self._opened.set()

    async def _once_opened(self, work: Callable[[], Awaitable[None]]) -> None:
        """What operators decided counts, also where only a bucket knows it. A store that does not answer keeps nobody for long."""
        await self.drain.first(self._opened.wait(), FIRST_LOOK_SECONDS)
        if not self.drain.started:
            await work()

    async def _keep_policies(self) -> None:
        parts = (self._executions, self._lease, self._wall, self._clock, self._timings)
        pause = self._timings.scheduler_interval_seconds
        closing = Closing(*parts)
        firing = Firing(*parts, closing, self._repositories.is_open)
        await keep_policies(firing, closing, self._wakes, self.drain, self._wall, pause)

    def _expiring(self) -> Expiring:
        return Expiring(
            self._database,
            self._deletions,
            self._lease,
            self._blocking,
            self._wakes,
            self._wall,
            self._clock,
            self._timings.scheduler_interval_seconds,
            self._repositories.decisions.unsettled,
        )

    def _make_servers(self, clock: Clock) -> Servers:
        config = self._config
        enrolments = DatabaseEnrolment(self._database)
        enrolment = Enrolment(enrolments, self._authority, clock, config.timings.agent_certificate_seconds)
        certificate = ServerCertificate(
            config.paths.server_certificate, self._authority, self._box, config.certificate_names, clock
        )
        servers = Servers(
            operator_listen=config.operator_listen,
            agent_listen=config.agent_listen,
            tls=certificate.current,
            operator_interceptors=[
                operator_auth(self._callers),
                role_required(),
                leader_only(self._lease),
                after_changes(self._exporter.nudge),
                page_tokens(),
            ],
            agent_interceptors=[
                agent_auth(
                    self._authority.cluster_id,
                    self._authority.root_above,
                    RevocationCheck(enrolment.check_agent, clock, everybody=self._enrolled),
                ),
                repository_of_leader(self._lease),
            ],
            drain=self.drain,
            drain_grace_seconds=config.timings.drain_grace_seconds,
        )
        enroller = EnrollServicer(
            enrolment,
            Recovery(enrolments, enrolment, Nonces(clock)),
            WrongTries(clock),
            bundle=lambda: self._authority.bundle_pem,
            agent_address=config.dialled_by_agents,
        )
        enroll_pb2_grpc.add_EnrollServiceServicer_to_server(enroller, servers.operator)
        operator_pb2_grpc.add_BackupServiceServicer_to_server(self._backup_service(), servers.operator)
        policies = PolicyServicer(self._executions, self._once, self._blocking, self._hooks, clock)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(policies, servers.operator)
        limits_pb2_grpc.add_LimitServiceServicer_to_server(self._limit_service(), servers.operator)
        operator_pb2_grpc.add_AdminServiceServicer_to_server(self._admin_service(enrolments, clock), servers.operator)
        users = UserServicer(self._database, self._once, self._clock, self._callers.forget)
        user_pb2_grpc.add_UserServiceServicer_to_server(users, servers.operator)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self._agent_service(enrolment), servers.agent)
        return servers

    async def _users(self) -> Sequence[User]:
        return await self._database.read(lambda transaction: transaction.users.users())

    def _enrolled(self) -> frozenset[str]:
        return self._database.read_now(lambda transaction: transaction.fleet.enrolled())

    def _make_supervisor(self) -> Supervisor:
        grace_us = microseconds(self._timings.collect_grace_seconds)
        verifying = VerifyJobs(self._database, self._repositories, self._lease, self._clock)

        def collecting(job: Job, repository: OpenedRepository) -> Calls:
            scope = LedgerScope(job.repository_id, job.id, grace_us, repository.mark)
            return ledger_calls(
                StoreLedger(self._database, scope, lambda: self._lease.current, self._clock, repository)
            )

        def before_collecting(job: Job, opened: OpenedRepository) -> Mapping[str, Any]:
            with told():
                self._repositories.given_up.take_back(opened.repository, job.repository_id)
            return {"grace_us": grace_us}

        return Supervisor(
            self._database,
            self._lease,
            self._repositories,
            self._blocking,
            self._wakes,
            self._clock,
            self._timings,
            calls_of={JobKind.COLLECT: collecting, JobKind.CHECK: verifying.calls, JobKind.HEAL: verifying.calls},
            settings_of={JobKind.COLLECT: before_collecting, JobKind.HEAL: verifying.heal_settings},
        )

    def _backup_service(self) -> BackupServicer:
        reclaim = Reclaim(self._database, self._repositories, self._clock)
        return BackupServicer(
            self._executions,
            Orders(self._clock, self._timings),
            self._once,
            make_watches(self._database, self._wakes, self.drain, self._clock, self._timings),
            RepositoryAdder(self._database, self._repositories, self._clock),
            RepositoryProber(self._database, self._repositories, self._clock),
            self._health,
            self._blocking,
            Forgetting(self._database, self._once, self._deletions, reclaim, self._blocking, self._clock),
            Holding(self._wall),
            JobOrders(self._database, self._once, self._wakes, self.drain, self._box, self._clock, self._timings),
            Moved(self._clock, terms_of(self._timings)),
            self._vitals,
            self._outdated,
            _version(),
        )

    def _limit_service(self) -> LimitServicer:
        return LimitServicer(
            LimitOrders(self._database, self._once, self._wakes, self._mirror, self._clock, self._outdated),
            Explaining(self._database, self._mirror, self._clock, self._wall),
        )

    def _admin_service(self, enrolments: DatabaseEnrolment, clock: Clock) -> AdminServicer:
        place = EnrolPlace(self._config.dialled_to_enrol, lambda: self._authority.root_sha256)
        revoking = Revoking(self._database, enrolments, self._once, clock)
        return AdminServicer(enrolments, revoking, self._rotating, place, self._once, self._box, clock)

    def _agent_service(self, enrolment: Enrolment) -> AgentServicer:
        grants = Grants(self._database, self._repositories, self._clock, self._timings)
        attempts = Attempts(
            self._executions, grants, self._publisher, self._blocking, self._clock, self._timings, self._random
        )
        return AgentServicer(
            Sessions(self._executions, self._clock, self._timings, self._random),
            Inventories(self._executions, MoveNotes(self._clock, terms_of(self._timings))),
            attempts,
            Transfers(self._database, self._repositories, self._clock, self._timings),
            enrolment,
            self._telling,
            self._blocking,
            self._wakes,
            self.drain,
            self._clock,
            self._timings,
            self._protocols,
            self._outdated,
        )


async def serve(
    config: ControllerConfig, outside: Outside, on_ready: Callable[[BoundPorts], None] | None = None
) -> None:
    """Until SIGTERM or SIGINT. `on_ready` is called once it serves. Whoever loses the lead begins anew, with nothing in memory.

    Raises what `Application` and its `start` raise, and Unavailable/STORE_HANGS: the process is to begin anew, as threads of it cannot.
    """
    ended, replica, begun = Drain(), own_replica(config), False
    ended.on_signals()
    while not ended.started:
        application = await _opened(config, outside, replica, ended, patient=begun)
        if application is None:
            return
        ports = await application.start()
        if on_ready is not None and not begun:
            on_ready(ports)
        begun = True
        await ended.first(application.wait(), math.inf)
        await application.stop()
        if application.failure is not None:
            raise application.failure
        if not application.lost_lead:
            return
        _log.warning("controller.lost_the_lead", replica=replica.id)
        if await application.hangs():
            raise Unavailable("STORE_HANGS", _HANGS)


async def _opened(
    config: ControllerConfig, outside: Outside, replica: Replica, ended: Drain, *, patient: bool
) -> Application | None:
    """`patient`: a database that is away is waited for. None: the end came first."""
    while not ended.started:
        try:
            return Application(config, outside, replica)
        except Unavailable as error:
            if not patient:
                raise
            _log.warning("controller.not_begun", reason=error.reason, error=str(error))
            await ended.first(asyncio.sleep(REOPEN_SECONDS), REOPEN_SECONDS)
    return None


def own_replica(config: ControllerConfig) -> Replica:
    """This process among those of its database."""
    addresses = (config.dialled_by_operators, config.dialled_by_agents)
    return new_replica(_version(), *(text.partition(",")[0] for text in addresses))


def create_database(config: ControllerConfig) -> None:
    """For `controller init`: the process that serves need not make it, which takes memory that Python does not give back.

    Raises FailedPrecondition, DataLoss.
    """
    open_database(config).close()


def run(config: ControllerConfig) -> int:
    """`seawall controller run`: returns the exit code. Raises ControllerError when it cannot start."""
    log_to_stderr(config.log_level)
    keep_few_arenas()
    asyncio.run(_serve_alone(config))
    return 0


async def _serve_alone(config: ControllerConfig) -> None:
    """As the only thing that this process does."""
    giving_back = asyncio.create_task(give_back())
    try:
        await serve(config, Outside(SystemClock()))
    finally:
        giving_back.cancel()


def log_to_stderr(level: str) -> None:
    """JSON lines: events with a stable name and fields."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _version() -> str:
    try:
        return metadata.version("seawall")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "0+checkout"


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """Tasks of a leader end with the drain. One that ends by an exception leaves its work undone for the rest of the term."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("controller.task_died", task=str(task.get_coro()), exc_info=error)
