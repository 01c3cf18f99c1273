"""The operator: real requests to the operator port, asked again under the same request id until they are answered, as the CLI does.

What was answered counts from then on: `liveness` looks at it at the end.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import grpc

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, operator_pb2_grpc, policy_pb2, policy_pb2_grpc
from seawall.api.v1.resources_pb2 import JOB_KIND_COLLECT, RestoreSpec

from .controller import OPERATOR_PORT, machine_of
from .network import AsyncChannel, Caller, Who
from .places import LABELS, sites_of, storages_of

if TYPE_CHECKING:
    from .world import World

AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}
SERVICES = (
    limits_pb2.HOST_SERVICE_IN_SERVICE,
    limits_pb2.HOST_SERVICE_IN_SERVICE,
    limits_pb2.HOST_SERVICE_CORDONED,
    limits_pb2.HOST_SERVICE_DRAINING,
)
PAUSE_SECONDS = 3.0
LIMITED = ("global", "host", "tenant", "tenant:default", "site", "repository:main")
"""Scopes on which limits are set; besides, single hosts, sites, storages and labels."""
LEAST_BUDGET, MOST_BUDGET = 600_000, 50_000_000
DAY_MINUTES = 1440
FIRST_SECONDS = 600
ZONE = "Europe/Berlin"
MOST_TRIES = 400
POLICY = """
policy: often
repository: main
select: {{all: true}}
schedule: {{cron: "{cron}", zone: {zone}, spread: {spread}, catch_up: 2h}}
rpo: 30m
retention: {{last: {last}}}
paused: {paused}
"""


class Operator:
    """`refused`: how many requests were answered with no."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        token = (("authorization", f"Bearer {world.template.token}"),)
        addresses = [f"{machine_of(number)}:{OPERATOR_PORT}" for number in range(world.size.controllers)]
        self._caller = Caller("10.0.1.1", addresses, Who(metadata=token))
        channel: Any = AsyncChannel(world.network, self._caller)
        self.backups = operator_pb2_grpc.BackupServiceStub(channel)
        self.policies = policy_pb2_grpc.PolicyServiceStub(channel)
        self.limits = limits_pb2_grpc.LimitServiceStub(channel)
        self.refused = 0
        self.answered = 0
        self.started: list[str] = []
        self.canceled: list[str] = []
        self._sites, self._storages = sites_of(world.size.agents), storages_of(world.size.agents)
        self._limited: dict[str, None] = {"global": None, "host": None}
        """Scopes that may have limits."""

    async def ask(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        """The answer; None when it was refused for good."""
        for _ in range(MOST_TRIES):
            try:
                answer = await method(request, timeout=10.0)
                self.answered += 1
                return answer
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    self.refused += 1
                    return None
                if error.code() is grpc.StatusCode.INTERNAL:
                    self._world.problem(f"a request ends with an error that nobody foresaw: {error.details()}")
                    return None
            self._caller.hang_up()
            await asyncio.sleep(PAUSE_SECONDS)
        self._world.problem(f"{type(request).__name__} was never answered")
        return None

    async def apply(self, *, minutes: int, paused: bool = False) -> None:
        """The policy of all VMs."""
        spread = self._world.size.spread or self._rng.choice(("0", "1m", "2m"))
        document = POLICY.format(
            cron=self._cron(minutes), spread=spread, last=self._rng.randint(2, 5), paused=str(paused).lower(), zone=ZONE
        )
        self._world.longest_interval_us = max(self._world.longest_interval_us, minutes * 60_000_000)
        request = policy_pb2.ApplyPoliciesRequest(request_id=self._new_id(), document=document, source="often.yaml")
        answer = await self.ask(self.policies.ApplyPolicies, request)
        self._world.note(f"policy every {minutes} min, paused {paused}: {'applied' if answer else 'refused'}")

    def _cron(self, minutes: int) -> str:
        if minutes < DAY_MINUTES:
            return f"*/{minutes} * * * *"
        first = datetime.fromtimestamp(self._world.start_us // 1_000_000 + FIRST_SECONDS, ZoneInfo(ZONE))
        return f"{first.minute} {first.hour} * * *"

    async def act(self) -> None:
        """One command of many kinds, and a look at the whole."""
        kinds = (
            self._start,
            self._start,
            self._cancel,
            self._cancel,
            self._delete,
            self._hold,
            self._release,
            self.set_limit,
            self.set_limit,
            self._service,
            self._policy,
            self._restore,
            self._explain,
            self.collect,
        )
        await self._rng.choice(kinds)()
        # What it says of unprotected VMs is compared with their list in the transaction that it is read in (controller.py).
        await self.ask(self.backups.GetStatus, operator_pb2.GetStatusRequest())

    async def settle(self) -> None:
        """Nothing new, everything in service, no limits but the built-in ones."""
        await self.apply(minutes=self._world.size.every_minutes, paused=True)
        for host in self._world.hosts:
            request = limits_pb2.SetHostRequest(
                request_id=self._new_id(), host=host.id, service=limits_pb2.HOST_SERVICE_IN_SERVICE
            )
            await self.ask(self.limits.SetHost, request)
        for scope in self._limited:
            await self.ask(self.limits.UnsetLimit, limits_pb2.UnsetLimitRequest(request_id=self._new_id(), scope=scope))

    async def start_backup(self) -> None:
        await self._start()

    async def _start(self) -> None:
        vm = self._vm()
        request = operator_pb2.StartBackupRequest(request_id=self._new_id(), vms=[vm], repository="main")
        answer = await self.ask(self.backups.StartBackup, request)
        if answer is not None:
            self.started += [run.run_id for run in answer.runs]

    async def _cancel(self) -> None:
        run_id = self._one([run.id for run in self._world.invariants.shadow.open()])
        if run_id:
            await self.cancel(run_id)

    async def order_more_than_fits(self) -> None:
        """A limit of all that is soon reached, and backups that wait for it."""
        few = max(3, self._world.size.most_at_once // 8)
        await self.ask(
            self.limits.SetLimit,
            limits_pb2.SetLimitRequest(request_id=self._new_id(), scope="global", transferring=few),
        )
        for _ in range(2 * few):
            await self._start()

    async def cancel(self, run_id: str) -> None:
        answer = await self.ask(
            self.backups.CancelRun, operator_pb2.CancelRunRequest(request_id=self._new_id(), run=run_id)
        )
        if answer is not None:
            self.canceled.append(run_id)
            self._world.note(f"run {run_id} was canceled by the operator")

    async def _delete(self) -> None:
        """Rather one that is held."""
        point_id = self._one(sorted(self._world.held)) or self._point()
        if point_id:
            await self.ask_to_delete(point_id)

    async def ask_to_delete(self, point_id: str) -> None:
        request = operator_pb2.DeletePointsRequest(request_id=self._new_id(), points=[point_id])
        if await self.ask(self.backups.DeletePoints, request) is not None:
            self._world.truth.deleted.add(point_id)

    async def delete_held(self) -> None:
        """What was held a moment ago: it must be refused."""
        point_id = await self._hold()
        if point_id in self._world.held:
            await self.ask_to_delete(point_id)

    async def _hold(self) -> str:
        """The point that was chosen; "" when there is none."""
        point_id = self._point()
        if point_id:
            request = operator_pb2.HoldPointsRequest(request_id=self._new_id(), points=[point_id], reason="simulated")
            if await self.ask(self.backups.HoldPoints, request) is not None:
                self._world.held.add(point_id)
        return point_id

    async def _release(self) -> None:
        point_id = self._one(sorted(self._world.held))
        if point_id:
            self._world.held.discard(point_id)
            request = operator_pb2.ReleasePointsRequest(request_id=self._new_id(), points=[point_id])
            await self.ask(self.backups.ReleasePoints, request)

    async def set_limit(self) -> None:
        """Of anything that has limits: how much of it may run, or prepare, at once."""
        scope, most = self._limited_scope(), self._world.size.most_at_once
        request = limits_pb2.SetLimitRequest(request_id=self._new_id(), scope=scope)
        narrow = scope.partition(":")[0] in ("host", "storage", "label")
        if self._rng.random() < 0.4:
            request.preparing = (
                self._rng.randint(1, 3) if narrow else self._rng.randint(max(1, most // 8), max(3, most // 4))
            )
        else:
            request.transferring = self._rng.randint(1, 4) if narrow else self._rng.randint(max(2, most // 4), most)
        await self._set(request)

    async def limit_everything(self) -> None:
        """At first: a limit for each thing of each scope, so that none is looked at in vain. The smaller a scope, the narrower."""
        most = self._world.size.most_at_once
        for scope, transferring, preparing in (
            ("tenant", most, most // 2),
            ("repository", most, most // 2),
            ("site", most, max(2, most // 3)),
            ("storage", max(2, most // 3), max(1, most // 6)),
            ("label", 1, 1),
            ("host", 3, 2),
        ):
            request = limits_pb2.SetLimitRequest(request_id=self._new_id(), scope=scope)
            request.transferring, request.preparing = transferring, preparing
            await self._set(request)
        await self.set_budget()

    async def set_budget(self) -> None:
        """Bytes per second, of all or of a part."""
        host, site = self._rng.choice(self._world.hosts).name, self._rng.choice(self._sites)
        request = limits_pb2.SetLimitRequest(request_id=self._new_id())
        request.scope = self._rng.choice(("global", "global", "site", f"site:{site}", f"host:{host}"))
        hosts = max(1, self._world.size.agents // 20)
        request.bandwidth = self._rng.randint(LEAST_BUDGET, MOST_BUDGET) * (hosts if request.scope == "global" else 1)
        await self._set(request)

    async def _set(self, request: limits_pb2.SetLimitRequest) -> None:
        self._limited[request.scope] = None
        await self.ask(self.limits.SetLimit, request)

    def _limited_scope(self) -> str:
        single = (
            f"host:{self._rng.choice(self._world.hosts).name}",
            f"site:{self._rng.choice(self._sites)}",
            f"storage:{self._rng.choice(self._storages)}",
            f"label:{self._rng.choice(LABELS)}",
        )
        return self._rng.choice((*LIMITED, "storage", *single))

    async def _service(self) -> None:
        host = self._rng.choice(self._world.hosts)
        service = self._rng.choice(SERVICES)
        await self.ask(
            self.limits.SetHost, limits_pb2.SetHostRequest(request_id=self._new_id(), host=host.id, service=service)
        )

    async def _policy(self) -> None:
        usual = self._world.size.every_minutes
        minutes = usual if usual >= DAY_MINUTES else self._rng.choice((usual, usual, 2 * usual))
        await self.apply(minutes=minutes)

    async def _restore(self) -> None:
        point_id = self._point()
        if point_id:
            name = f"copy-{self._rng.getrandbits(32):x}"
            spec = RestoreSpec(
                point_id=point_id, host_id=self._rng.choice(self._world.hosts).name, vm_name=name, new_identity=True
            )
            await self.ask(
                self.backups.StartRestore, operator_pb2.StartRestoreRequest(request_id=self._new_id(), spec=spec)
            )

    async def collect(self) -> str:
        """The job; "" where it was refused."""
        request = operator_pb2.StartJobRequest(request_id=self._new_id(), repository="main", kind=JOB_KIND_COLLECT)
        answer = await self.ask(self.backups.StartJob, request)
        return str(answer.job.job_id) if answer is not None else ""

    async def _explain(self) -> None:
        run_id = self._one([run.id for run in self._world.invariants.shadow.open()])
        if run_id:
            await self.ask(self.limits.ExplainRun, limits_pb2.ExplainRunRequest(run=run_id))

    def _vm(self) -> str:
        host = self._rng.choice([host for host in self._world.hosts if host.disks])
        return host.hypervisor.vms[self._rng.choice(sorted(host.disks))].name

    def _point(self) -> str:
        truth = self._world.truth
        return self._one(
            [point for point in truth.attempt_of if point not in truth.deleted and point not in self._world.held]
        )

    def _one(self, ids: list[str]) -> str:
        return self._rng.choice(ids) if ids else ""

    def _new_id(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))
