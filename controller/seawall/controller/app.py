"""The controller's composition root: builds everything once, serves both ports until SIGTERM or SIGINT, and lets go of everything."""

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata

import structlog

from seawall.api.v1 import agent_pb2_grpc, enroll_pb2_grpc, operator_pb2_grpc
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.server_certificate import ServerCertificate
from seawall.controller.config import ControllerConfig
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.enrolment.enrol import Enrolment
from seawall.controller.enrolment.service import EnrollServicer
from seawall.controller.enrolment.tries import WrongTries
from seawall.controller.errors import ControllerError
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.forgetting.reclaim import Reclaim
from seawall.controller.initialise import load_operator_token_hashes, load_wrapper_key, require_initialised
from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.maintenance.ledger_calls import Calls, ledger_calls
from seawall.controller.maintenance.supervisor import Supervisor
from seawall.controller.maintenance.verify_jobs import VerifyJobs
from seawall.controller.maintenance.verify_schedule import Verification
from seawall.controller.publishing.finisher import finish_intents
from seawall.controller.publishing.promotion import OnStep, Promotion
from seawall.controller.publishing.publisher import Publisher
from seawall.controller.records.maintenance import Job, JobKind
from seawall.controller.repositories.add import RepositoryAdder
from seawall.controller.repositories.catalogue import Keys, OpenStore, RepositoryCatalogue
from seawall.controller.repositories.health import StoreHealth, watch_stores
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.loop import schedule
from seawall.controller.scheduler.placement import Limits
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.secrets import SecretBox
from seawall.controller.server.auth import agent_auth, operator_auth
from seawall.controller.server.drain import Drain
from seawall.controller.server.ports import BoundPorts, Servers
from seawall.controller.server.revocation import RevocationCheck
from seawall.controller.services.admin_service import AdminServicer, EnrolPlace
from seawall.controller.services.agent_service import AgentServicer
from seawall.controller.services.attempts import Attempts
from seawall.controller.services.backup_service import BackupServicer
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.forgetting import Forgetting
from seawall.controller.services.grants import Grants
from seawall.controller.services.inventory import Inventories
from seawall.controller.services.jobs import JobOrders
from seawall.controller.services.once import Once
from seawall.controller.services.orders import Orders
from seawall.controller.services.sessions import Sessions
from seawall.controller.services.transfers import Transfers
from seawall.controller.services.watching import Watching
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.store.locate import open_store

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outside:
    """What the controller takes from its surroundings; tests bring their own."""

    clock: Clock
    open_store: OpenStore = open_store
    timings: Timings | None = None
    """None: what the configuration says."""
    limits: Limits = field(default_factory=Limits)
    on_publish_step: OnStep = lambda step: None
    on_delete_step: OnStep = lambda step: None


class Application:
    """One controller. Made inside a running event loop; `start`, then `wait`, then `stop`."""

    def __init__(self, config: ControllerConfig, outside: Outside) -> None:
        """Opens the database. Raises FailedPrecondition/NOT_INITIALISED, DATABASE_IN_USE, SCHEMA_TOO_NEW; DataLoss."""
        require_initialised(config.paths)
        self._config = config
        self._clock = SteadyClock(outside.clock)
        self._timings = outside.timings or config.timings
        self._box = SecretBox.from_file(config.paths.kek)
        self._authority = CertificateAuthority.load(config.paths, self._box, outside.clock)
        keys = Keys(load_wrapper_key(config.paths, self._box), self._box)
        self._operator_hashes = load_operator_token_hashes(config.paths)
        self.drain = Drain()
        self._wakes = Wakes()
        self._blocking = Blocking()
        self._random = random.Random()  # noqa: S311 (spreads retries; no secret)
        self._database = SqliteDatabase(config.paths.database, config.paths.lock)
        self._executions = Executions(self._database, self._wakes)
        self._lease = LeaderLease(self._database, self._clock, self._timings)
        self._repositories = RepositoryCatalogue(
            self._database, keys, config.paths, self._lease, outside.clock, outside.open_store
        )
        self._health = StoreHealth(self._repositories, outside.clock)
        self._promotion = Promotion(
            self._database, self._repositories, self._lease, self._clock, outside.on_publish_step
        )
        self._publisher = Publisher(self._database, self._repositories, self._lease, self._clock, self._promotion)
        self._deletions = Deletions(
            self._database, self._repositories, self._lease, self._clock, outside.on_delete_step
        )
        self._supervisor = self._make_supervisor()
        self._tick = Tick(self._executions, self._lease, self._clock, self._timings, outside.limits, self._random)
        self._servers = self._make_servers(outside.clock)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> BoundPorts:
        """Lead, serve, begin the work in the background. Raises Unavailable/PORT_IN_USE, NOT_LEADER."""
        try:
            await self._lease.acquire()
            ports = await self._servers.start()
        except ControllerError:
            self._close()
            raise
        timings, drain = self._timings, self.drain
        self._tasks = [
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
            asyncio.create_task(Verification(self._database, self._wakes, self._clock, timings).run(drain)),
            asyncio.create_task(self._open_repositories()),
            asyncio.create_task(watch_stores(self._health, self._database, self._blocking, drain)),
        ]
        _log.info("controller.started", operator_port=ports.operator, agent_port=ports.agent, version=_version())
        return ports

    async def wait(self) -> None:
        """Returns when the drain starts."""
        await self.drain.wait()

    async def stop(self) -> None:
        """Open polls are answered at once; calls under way get their grace."""
        self.drain.start()
        self._repositories.begin_close()
        await self._servers.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._lease.release()
        except ControllerError as error:
            _log.warning("leader.not_released", reason=error.reason, error=str(error))
        await asyncio.to_thread(self._close)
        _log.info("controller.stopped")

    def _close(self) -> None:
        self._blocking.close()
        self._repositories.close()
        self._database.close()

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
            operator_interceptors=[operator_auth(self._operator_hashes)],
            agent_interceptors=[agent_auth(self._authority.cluster_id, RevocationCheck(enrolment.check_agent, clock))],
            drain=self.drain,
            drain_grace_seconds=config.timings.drain_grace_seconds,
        )
        enroller = EnrollServicer(
            enrolment,
            WrongTries(clock),
            ca_bundle_pem=self._authority.bundle_pem,
            agent_address=config.dialled_by_agents,
        )
        enroll_pb2_grpc.add_EnrollServiceServicer_to_server(enroller, servers.operator)
        operator_pb2_grpc.add_BackupServiceServicer_to_server(self._backup_service(), servers.operator)
        operator_pb2_grpc.add_AdminServiceServicer_to_server(self._admin_service(enrolments, clock), servers.operator)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self._agent_service(enrolment), servers.agent)
        return servers

    def _make_supervisor(self) -> Supervisor:
        grace_us = microseconds(self._timings.collect_grace_seconds)
        verifying = VerifyJobs(self._database, self._repositories, self._lease, self._clock)

        def collecting(job: Job, repository: OpenedRepository) -> Calls:
            scope = LedgerScope(job.repository_id, job.id, grace_us)
            return ledger_calls(
                StoreLedger(self._database, scope, lambda: self._lease.current, self._clock, repository)
            )

        return Supervisor(
            self._database,
            self._repositories,
            self._blocking,
            self._wakes,
            self._clock,
            self._timings,
            calls_of={JobKind.COLLECT: collecting, JobKind.CHECK: verifying.calls, JobKind.HEAL: verifying.calls},
            settings_of={JobKind.COLLECT: lambda *_: {"grace_us": grace_us}, JobKind.HEAL: verifying.heal_settings},
        )

    def _backup_service(self) -> BackupServicer:
        once = Once(self._database, self._clock, self._timings)
        reclaim = Reclaim(self._database, self._repositories, self._clock)
        return BackupServicer(
            self._executions,
            Orders(self._clock, self._timings),
            once,
            Watching(self._database, self._wakes, self.drain, self._timings),
            RepositoryAdder(self._database, self._repositories, self._clock),
            self._health,
            self._blocking,
            Forgetting(self._database, once, self._deletions, reclaim, self._blocking, self._clock),
            JobOrders(self._database, once, self._wakes, self.drain, self._box, self._clock, self._timings),
            _version(),
        )

    def _admin_service(self, enrolments: DatabaseEnrolment, clock: Clock) -> AdminServicer:
        place = EnrolPlace(self._config.dialled_to_enrol, self._authority.root_sha256)
        return AdminServicer(enrolments, place, Once(self._database, self._clock, self._timings), self._box, clock)

    def _agent_service(self, enrolment: Enrolment) -> AgentServicer:
        grants = Grants(self._database, self._repositories, self._clock, self._timings)
        attempts = Attempts(
            self._executions, grants, self._publisher, self._blocking, self._clock, self._timings, self._random
        )
        return AgentServicer(
            Sessions(self._executions, self._clock, self._timings, self._random),
            Inventories(self._executions),
            attempts,
            Transfers(self._database, self._repositories, self._clock, self._timings),
            enrolment,
            self._authority.bundle_pem,
            self._blocking,
            self._wakes,
            self.drain,
            self._clock,
            self._timings,
        )


async def serve(
    config: ControllerConfig, outside: Outside, on_ready: Callable[[BoundPorts], None] | None = None
) -> None:
    """Until SIGTERM or SIGINT. `on_ready` is called once both ports serve."""
    application = Application(config, outside)
    application.drain.on_signals()
    ports = await application.start()
    if on_ready is not None:
        on_ready(ports)
    await application.wait()
    await application.stop()


def create_database(config: ControllerConfig) -> None:
    """For `controller init`: the process that serves need not make it, which takes memory that Python does not give back.

    Raises FailedPrecondition, DataLoss.
    """
    SqliteDatabase(config.paths.database, config.paths.lock).close()


def run(config: ControllerConfig) -> int:
    """`seawall controller run`: returns the exit code. Raises ControllerError when it cannot start."""
    log_to_stderr(config.log_level)
    asyncio.run(serve(config, Outside(SystemClock())))
    return 0


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
