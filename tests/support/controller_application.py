"""A whole controller on loopback, in a thread with its own event loop: real ports, certificates, SQLite and store."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
from deploy.free_ports import free_ports
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seawall.api.v1 import enroll_pb2_grpc, operator_pb2, operator_pb2_grpc, policy_pb2_grpc, resources_pb2
from seawall.controller.app import Application, Outside
from seawall.controller.config import ControllerConfig
from seawall.controller.initialise import initialise
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.publishing.promotion import OnStep
from seawall.controller.repositories.catalogue import OpenStore
from seawall.controller.server.ports import BoundPorts
from seawall.controller.services.protocol import SPOKEN, Protocols
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.crypto.keys import new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.store.locate import open_store
from support.sqlite_template import new_sqlite

BRISK = Timings(
    heartbeat_seconds=0.2,
    lease_ttl_seconds=60.0,
    poll_wait_seconds=5.0,
    failover_grace_seconds=0.0,
    scheduler_interval_seconds=0.2,
    watch_interval_seconds=0.05,
    retry_seconds=0.05,
    retry_growth=1.0,
    conflict_backoff_seconds=(0.05, 0.05),
    restart_backoff_seconds=0.05,
    expired_backoff_seconds=0.05,
    publish_retry_seconds=0.1,
    bandwidth_seconds=0.2,
    verify_new_seconds=3600.0,  # tests of verification ask for it
)
RECOVERY_SECRET = new_secret()
RECOVERY_KEY = public_key_of(RECOVERY_SECRET)


def free_port() -> int:
    return free_ports(1)


def reason_of(error: grpc.RpcError) -> str:
    """What a client switches on."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def configured(state_dir: Path, database: str = "") -> ControllerConfig:
    """As `controller init` leaves it; what is there already stays. `database`: of a server, with its tables; "": SQLite."""
    operator, agent = free_port(), free_port()
    config = ControllerConfig(
        state_dir=state_dir,
        agent_listen=f"127.0.0.1:{agent}",
        operator_listen=f"127.0.0.1:{operator}",
        agent_address=f"127.0.0.1:{agent}",
        enrol_address=f"127.0.0.1:{operator}",
        database=database,
    )
    initialise(config, SystemClock())
    if not database and not config.paths.database.exists():
        new_sqlite(config.paths.database)
    return config


@dataclass
class Controller:
    """A running one, with an operator's stubs."""

    config: ControllerConfig
    application: Application
    ports: BoundPorts
    loop: asyncio.AbstractEventLoop
    channel: grpc.Channel
    token: str = field(repr=False)

    @property
    def backups(self) -> operator_pb2_grpc.BackupServiceStub:
        return operator_pb2_grpc.BackupServiceStub(self.channel)

    @property
    def policies(self) -> policy_pb2_grpc.PolicyServiceStub:
        return policy_pb2_grpc.PolicyServiceStub(self.channel)

    @property
    def admin(self) -> operator_pb2_grpc.AdminServiceStub:
        return operator_pb2_grpc.AdminServiceStub(self.channel)

    @property
    def enrolment(self) -> enroll_pb2_grpc.EnrollServiceStub:
        return enroll_pb2_grpc.EnrollServiceStub(self.channel)

    def add_folder(self, folder: Path, name: str = "main") -> resources_pb2.Repository:
        folder.mkdir(exist_ok=True)
        request = operator_pb2.AddRepositoryRequest(
            request_id=str(uuid.uuid4()), name=name, url=folder.as_uri(), recovery_public_key=RECOVERY_KEY
        )
        return self.backups.AddRepository(request).repository

    def add_bucket(
        self, url: str, access_key: str, secret_key: str, name: str = "main", timeout: float = 60
    ) -> resources_pb2.Repository:
        request = operator_pb2.AddRepositoryRequest(
            request_id=str(uuid.uuid4()),
            name=name,
            url=url,
            access_key=access_key,
            secret_key=secret_key,
            recovery_public_key=RECOVERY_KEY,
        )
        return self.backups.AddRepository(request, timeout=timeout).repository

    def run(self, run_id: str) -> resources_pb2.Run:
        return self.backups.GetRun(operator_pb2.GetRunRequest(run=run_id)).run

    def start_backup(self, vm: str, **fields: object) -> resources_pb2.Run:
        request = operator_pb2.StartBackupRequest(request_id=str(uuid.uuid4()), vms=[vm], **fields)  # type: ignore[arg-type]
        return self.backups.StartBackup(request).runs[0]

    def watch(self, run_id: str, until: Callable[[resources_pb2.Run], bool]) -> resources_pb2.Run:
        """The first state of the run that fits, pushed by the controller. Fails after 10 s."""
        request = operator_pb2.WatchRunsRequest(runs=[run_id])
        stream = self.backups.WatchRuns(request, timeout=10)
        for answer in stream:
            if until(answer.run):
                stream.cancel()  # type: ignore[no-untyped-call]
                return answer.run
        raise AssertionError(f"run {run_id} ended otherwise: {self.run(run_id)}")


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    """Adds the operator's token to every call: the channel's own call credentials would need a name that resolves."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def _with_token(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or []), ("authorization", f"Bearer {self._token}")])


@contextmanager
def with_token(controller: Controller, token: str) -> Iterator[grpc.Channel]:
    """What somebody else sees of it."""
    credentials = grpc.ssl_channel_credentials(controller.config.paths.root_certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{controller.ports.operator}", credentials) as plain:
        yield grpc.intercept_channel(plain, _Bearer(token))


@contextmanager
def running(
    config: ControllerConfig,
    timings: Timings = BRISK,
    open_store: OpenStore = open_store,
    clock: Clock | None = None,
    protocols: Protocols = SPOKEN,
    on_publish_step: OnStep = lambda step: None,
) -> Iterator[Controller]:
    """Serves until the block ends; then drains, as at SIGTERM."""
    ready = threading.Event()
    found: dict[str, object] = {}

    async def main() -> None:
        outside = Outside(
            clock or SystemClock(),
            timings=timings,
            open_store=open_store,
            protocols=protocols,
            on_publish_step=on_publish_step,
        )
        application = Application(config, outside)
        found["ports"] = await application.start()
        found["application"], found["loop"] = application, asyncio.get_running_loop()
        ready.set()
        await application.wait()
        await application.stop()

    def body() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=body, name="controller")
    thread.start()
    assert ready.wait(20)
    if "error" in found:
        thread.join()
        raise found["error"]  # type: ignore[misc]
    application, ports, loop = found["application"], found["ports"], found["loop"]
    assert isinstance(application, Application)
    assert isinstance(ports, BoundPorts)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    access = OperatorAccess.parse(config.operator_toml.read_text())
    credentials = grpc.ssl_channel_credentials(access.ca_pem.encode())
    plain = grpc.secure_channel(f"127.0.0.1:{ports.operator}", credentials)
    token = access.token.reveal().decode()
    try:
        with plain:
            channel = grpc.intercept_channel(plain, _Bearer(token))
            yield Controller(config, application, ports, loop, channel, token)
    finally:
        loop.call_soon_threadsafe(application.drain.start)
        thread.join(20)
        assert not thread.is_alive()
        if "error" in found:
            raise found["error"]  # type: ignore[misc]
