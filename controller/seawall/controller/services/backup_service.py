"""BackupService on the wire: what operators see and order."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from grpc import aio

from seawall.api.v1 import operator_pb2, operator_pb2_grpc, resources_pb2
from seawall.controller.policies.protection import all_page, unprotected_page
from seawall.controller.policies.unprotected import UnprotectedVms
from seawall.controller.records.answers import Asked
from seawall.controller.repositories.add import Addition, RepositoryAdder
from seawall.controller.repositories.health import StoreHealth
from seawall.controller.repositories.probing import RepositoryProber
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.wakes import ENDED, RETENTION
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.convert_catalogue import point_message, probed_message, repository_message
from seawall.controller.services.convert_fleet import host_message, vm_message
from seawall.controller.services.convert_moves import moved_message
from seawall.controller.services.convert_runs import restore_of, run_message
from seawall.controller.services.convert_settings import settings_of
from seawall.controller.services.forgetting import Forgetting
from seawall.controller.services.holding import Holding
from seawall.controller.services.jobs import JobOrders
from seawall.controller.services.many_backups import ManyBackups
from seawall.controller.services.many_cancels import ManyCancels
from seawall.controller.services.masks import masked_settings
from seawall.controller.services.moved import Moved
from seawall.controller.services.naming import find_host, find_point, find_repository, find_run, find_vm
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.orders import Orders
from seawall.controller.services.outdated import OutdatedHosts
from seawall.controller.services.paging import cut, fit, page_by, page_size, page_size_or_all, start_of
from seawall.controller.services.run_filter import run_filter
from seawall.controller.services.run_history import RunHistory
from seawall.controller.services.status import status_message
from seawall.controller.services.views import (
    RepositoryView,
    RunView,
    host_views,
    point_views,
    repository_views,
    run_views,
    vm_views,
)
from seawall.controller.services.watching_all import Watches
from seawall.controller.store.transaction import Transaction
from seawall.controller.vitals.vitals import Vitals
from seawall.repository.store.location import S3Credentials

Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")


class BackupServicer(operator_pb2_grpc.BackupServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(
        self,
        executions: Executions,
        orders: Orders,
        once: Once,
        watches: Watches,
        adder: RepositoryAdder,
        prober: RepositoryProber,
        health: StoreHealth,
        blocking: Blocking,
        forgetting: Forgetting,
        holding: Holding,
        jobs: JobOrders,
        moved: Moved,
        vitals: Vitals,
        outdated: OutdatedHosts,
        version: str,
    ) -> None:
        self._executions = executions
        self._orders = orders
        self._many = ManyBackups(executions, once, orders)
        self._cancels = ManyCancels(executions, once, orders)
        self._once = once
        self._watches = watches
        self._adder = adder
        self._prober = prober
        self._health = health
        self._blocking = blocking
        self._forgetting = forgetting
        self._holding = holding
        self._jobs = jobs
        self._moved = moved
        self._vitals = vitals
        self._outdated = outdated
        self._unprotected = UnprotectedVms()
        self._version = version

    async def GetStatus(
        self, request: operator_pb2.GetStatusRequest, context: Context
    ) -> operator_pb2.GetStatusResponse:
        now_us, listening_us = self._orders.clock.now_us(), self._orders.clock.started_us
        answer = await self._read(
            lambda transaction: status_message(
                transaction,
                now_us,
                self._version,
                self._health,
                self._outdated,
                self._unprotected,
                listening_us=listening_us,
            )
        )
        answer.troubles.extend(self._vitals.sentences())
        answer.loop_lag_ms = round(self._vitals.loop_lag_seconds * 1000)
        return answer

    async def ListHosts(
        self, request: operator_pb2.ListHostsRequest, context: Context
    ) -> operator_pb2.ListHostsResponse:
        size, after = page_size(request.page_size), start_of(request.page_token)
        now_us, listening_us = self._orders.clock.now_us(), self._orders.clock.started_us

        def closure(transaction: Transaction) -> operator_pb2.ListHostsResponse:
            page, token = cut(transaction.fleet.hosts(after, size + 1), size)
            views = host_views(transaction, page, now_us, listening_us=listening_us)
            hosts = [host_message(view) for view in views]
            self._outdated.mark(hosts)
            return operator_pb2.ListHostsResponse(hosts=hosts, next_page_token=token)

        return await self._read(closure)

    async def ListVms(self, request: operator_pb2.ListVmsRequest, context: Context) -> operator_pb2.ListVmsResponse:
        size, after = page_size(request.page_size), start_of(request.page_token)

        def closure(transaction: Transaction) -> operator_pb2.ListVmsResponse:
            host_id = find_host(transaction, request.host).id if request.host else ""
            find = unprotected_page if request.unprotected else all_page
            page, token = cut(find(transaction, host_id, after, size + 1), size)
            vms = [vm_message(view) for view in vm_views(transaction, page)]
            shown, token = fit(page, vms, token)
            return operator_pb2.ListVmsResponse(vms=shown, next_page_token=token)

        return await self._read(closure)

    async def GetVm(self, request: operator_pb2.GetVmRequest, context: Context) -> operator_pb2.GetVmResponse:
        def closure(transaction: Transaction) -> operator_pb2.GetVmResponse:
            (view,) = vm_views(transaction, [find_vm(transaction, request.vm)])
            return operator_pb2.GetVmResponse(vm=vm_message(view))

        return await self._read(closure)

    async def ProtectVm(
        self, request: operator_pb2.ProtectVmRequest, context: Context
    ) -> operator_pb2.ProtectVmResponse:
        message, unset = masked_settings(request)
        asked, said = asked_by(request), settings_of(message)
        vm_id = await self._executions.change(
            lambda change: self._once.within(
                change.transaction, asked, lambda: self._orders.protect(change, request.vm, said, unset)
            )
        )

        def closure(transaction: Transaction) -> operator_pb2.ProtectVmResponse:
            (view,) = vm_views(transaction, [find_vm(transaction, vm_id)])
            return operator_pb2.ProtectVmResponse(vm=vm_message(view))

        return await self._read(closure)

    async def ConfirmMove(
        self, request: operator_pb2.ConfirmMoveRequest, context: Context
    ) -> operator_pb2.ConfirmMoveResponse:
        vm_id = request.vm
        if not request.plan_only:
            asked = asked_by(request)
            vm_id = await self._executions.change(
                lambda change: self._once.within(
                    change.transaction,
                    asked,
                    lambda: self._moved.confirm(change.transaction, request.vm, request.host),
                )
            )

        def closure(transaction: Transaction) -> operator_pb2.ConfirmMoveResponse:
            vm = self._moved.found(transaction, vm_id, request.host)
            (view,) = vm_views(transaction, [vm])
            standings = self._moved.standings(transaction, vm)
            return moved_message(view, standings, self._moved.claimed_by(transaction, vm))

        return await self._read(closure)

    async def StartBackup(
        self, request: operator_pb2.StartBackupRequest, context: Context
    ) -> operator_pb2.StartBackupResponse:
        return await self._many.start(request)

    async def StartRestore(
        self, request: operator_pb2.StartRestoreRequest, context: Context
    ) -> operator_pb2.StartRestoreResponse:
        asked, spec = asked_by(request), restore_of(request.spec)
        run_id = await self._executions.change(
            lambda change: self._once.within(change.transaction, asked, lambda: self._orders.restore(change, spec))
        )
        (view,) = await self._views([run_id])
        return operator_pb2.StartRestoreResponse(run=run_message(view))

    async def ListRuns(self, request: operator_pb2.ListRunsRequest, context: Context) -> operator_pb2.ListRunsResponse:
        size, before = page_size(request.page_size), start_of(request.page_token)
        now_us, listening_us = self._orders.clock.now_us(), self._orders.clock.started_us

        def closure(transaction: Transaction) -> operator_pb2.ListRunsResponse:
            wanted = run_filter(transaction, request, now_us)
            found = transaction.runs.runs(wanted, before=before, limit=size + 1)
            page, token = cut(found, size)
            views = run_views(transaction, page, now_us, listening_us=listening_us)
            runs = [run_message(view) for view in views]
            shown, token = fit(page, runs, token)
            return operator_pb2.ListRunsResponse(runs=shown, next_page_token=token)

        return await self._read(closure)

    async def GetRun(self, request: operator_pb2.GetRunRequest, context: Context) -> operator_pb2.GetRunResponse:
        (view,) = await self._views([request.run], self._watches.history)
        return operator_pb2.GetRunResponse(run=run_message(view))

    async def CancelRun(
        self, request: operator_pb2.CancelRunRequest, context: Context
    ) -> operator_pb2.CancelRunResponse:
        asked = asked_by(request)
        run_id = await self._executions.change(
            lambda change: self._once.within(
                change.transaction, asked, lambda: self._orders.cancel(change, request.run)
            )
        )
        (view,) = await self._views([run_id])
        return operator_pb2.CancelRunResponse(run=run_message(view))

    async def CancelRuns(
        self, request: operator_pb2.CancelRunsRequest, context: Context
    ) -> operator_pb2.CancelRunsResponse:
        return await self._cancels.cancel(request)

    async def WatchRuns(
        self, request: operator_pb2.WatchRunsRequest, context: Context
    ) -> AsyncIterator[operator_pb2.WatchRunsResponse]:
        if request.all:
            async for told in self._watches.every.watch(request.vm, request.resume_token):
                run = run_message(told.view) if told.view else None
                yield operator_pb2.WatchRunsResponse(run=run, snapshot=told.snapshot, resume_token=told.resume_token)
            return
        async for view in self._watches.named.watch(request.runs):
            yield operator_pb2.WatchRunsResponse(run=run_message(view))

    async def ListPoints(
        self, request: operator_pb2.ListPointsRequest, context: Context
    ) -> operator_pb2.ListPointsResponse:
        size, before = page_size(request.page_size), start_of(request.page_token)

        def closure(transaction: Transaction) -> operator_pb2.ListPointsResponse:
            vm_id = find_vm(transaction, request.vm).id if request.vm else ""
            repository_id = find_repository(transaction, request.repository).id if request.repository else ""
            found = transaction.points.points(before=before, limit=size + 1, vm_id=vm_id, repository_id=repository_id)
            page, token = cut(found, size)
            points = [point_message(view) for view in point_views(transaction, page)]
            shown, token = fit(page, points, token)
            return operator_pb2.ListPointsResponse(points=shown, next_page_token=token)

        return await self._read(closure)

    async def GetPoint(self, request: operator_pb2.GetPointRequest, context: Context) -> operator_pb2.GetPointResponse:
        def closure(transaction: Transaction) -> operator_pb2.GetPointResponse:
            (view,) = point_views(transaction, [find_point(transaction, request.point)])
            return operator_pb2.GetPointResponse(point=point_message(view))

        return await self._read(closure)

    async def DeletePoints(
        self, request: operator_pb2.DeletePointsRequest, context: Context
    ) -> operator_pb2.DeletePointsResponse:
        return await self._forgetting.delete(request)

    async def ForgetPoints(
        self, request: operator_pb2.ForgetPointsRequest, context: Context
    ) -> operator_pb2.ForgetPointsResponse:
        return await self._forgetting.forget(request)

    async def HoldPoints(
        self, request: operator_pb2.HoldPointsRequest, context: Context
    ) -> operator_pb2.HoldPointsResponse:
        for_us = request.hold_for.ToMicroseconds() if request.HasField("hold_for") else None
        points = await self._on_points(
            asked_by(request),
            lambda transaction: self._holding.hold(transaction, request.points, request.reason, for_us),
        )
        return operator_pb2.HoldPointsResponse(points=points)

    async def ReleasePoints(
        self, request: operator_pb2.ReleasePointsRequest, context: Context
    ) -> operator_pb2.ReleasePointsResponse:
        points = await self._on_points(
            asked_by(request),
            lambda transaction: self._holding.release(transaction, request.points),
        )
        return operator_pb2.ReleasePointsResponse(points=points)

    async def _on_points(self, asked: Asked, act: Callable[[Transaction], list[str]]) -> list[resources_pb2.Point]:
        """The points, as they are after it; of many with many disks as many as one answer holds."""
        answer = await self._executions.store.write(
            lambda transaction: self._once.within(transaction, asked, lambda: json.dumps(act(transaction)))
        )
        self._executions.wakes.notify((RETENTION, ENDED))

        def closure(transaction: Transaction) -> list[resources_pb2.Point]:
            found = [transaction.points.point(point_id) for point_id in json.loads(answer)]
            views = point_views(transaction, [each for each in found if each])
            return list(fit([view.point for view in views], [point_message(view) for view in views], "")[0])

        return await self._read(closure)

    async def StartJob(self, request: operator_pb2.StartJobRequest, context: Context) -> operator_pb2.StartJobResponse:
        return operator_pb2.StartJobResponse(job=await self._jobs.start(request))

    async def GetJob(self, request: operator_pb2.GetJobRequest, context: Context) -> operator_pb2.GetJobResponse:
        return operator_pb2.GetJobResponse(job=await self._jobs.get(request.job))

    async def ListJobs(self, request: operator_pb2.ListJobsRequest, context: Context) -> operator_pb2.ListJobsResponse:
        return await self._jobs.listed(request)

    async def CancelJob(
        self, request: operator_pb2.CancelJobRequest, context: Context
    ) -> operator_pb2.CancelJobResponse:
        return operator_pb2.CancelJobResponse(job=await self._jobs.cancel(request))

    async def WatchJob(
        self, request: operator_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[operator_pb2.WatchJobResponse]:
        async for job in self._jobs.watch(request.job):
            yield operator_pb2.WatchJobResponse(job=job)

    async def AddRepository(
        self, request: operator_pb2.AddRepositoryRequest, context: Context
    ) -> operator_pb2.AddRepositoryResponse:
        addition = _addition(request)

        async def act() -> str:
            record = await self._blocking.run(lambda: self._adder.add(addition))
            return record.id

        repository_id = await self._once.around(asked_by(request), act)
        return await self._read(
            lambda transaction: operator_pb2.AddRepositoryResponse(
                repository=self._repository(transaction, repository_id)
            )
        )

    async def ListRepositories(
        self, request: operator_pb2.ListRepositoriesRequest, context: Context
    ) -> operator_pb2.ListRepositoriesResponse:
        size, after = page_size_or_all(request.page_size), start_of(request.page_token)

        def closure(transaction: Transaction) -> operator_pb2.ListRepositoriesResponse:
            found = transaction.repositories.repositories(after, size + 1)
            page, token = page_by(
                found,
                size,
                lambda record: record.name,
                lambda page: [self._told(view) for view in repository_views(transaction, page)],
            )
            return operator_pb2.ListRepositoriesResponse(repositories=page, next_page_token=token)

        return await self._read(closure)

    async def GetRepository(
        self, request: operator_pb2.GetRepositoryRequest, context: Context
    ) -> operator_pb2.GetRepositoryResponse:
        return await self._read(
            lambda transaction: operator_pb2.GetRepositoryResponse(
                repository=self._repository(transaction, request.repository)
            )
        )

    async def ProbeRepository(
        self, request: operator_pb2.ProbeRepositoryRequest, context: Context
    ) -> operator_pb2.ProbeRepositoryResponse:
        record = await self._read(lambda transaction: find_repository(transaction, request.repository))
        found = None if request.plan_only else await self._blocking.run(lambda: self._prober.probe(record))
        return await self._read(lambda transaction: probed_message(self._repository(transaction, record.id), found))

    async def _read(self, closure: Callable[[Transaction], T]) -> T:
        return await self._executions.store.read(closure)

    def _repository(self, transaction: Transaction, text: str) -> resources_pb2.Repository:
        (view,) = repository_views(transaction, [find_repository(transaction, text)])
        return self._told(view)

    def _told(self, view: RepositoryView) -> resources_pb2.Repository:
        return repository_message(view, self._health.trouble(view.record.id) or view.trouble)

    async def _views(self, texts: Sequence[str], history: RunHistory | None = None) -> list[RunView]:
        now_us, listening_us = self._orders.clock.now_us(), self._orders.clock.started_us

        def closure(transaction: Transaction) -> list[RunView]:
            found = [find_run(transaction, text) for text in texts]
            return run_views(transaction, found, now_us, history, listening_us=listening_us)

        return await self._read(closure)


def _addition(request: operator_pb2.AddRepositoryRequest) -> Addition:
    keys = request.access_key or request.secret_key
    return Addition(
        name=request.name,
        url=request.url,
        credentials=S3Credentials(request.access_key, request.secret_key) if keys else None,
        chunk_nominal_bytes=request.chunk_nominal_bytes,
        recovery_public_key=request.recovery_public_key,
        accept_unsafe_store=request.accept_unsafe_store,
    )
