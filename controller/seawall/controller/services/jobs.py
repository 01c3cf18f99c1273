"""Maintenance jobs as operators order and follow them. The work itself is done by the maintenance worker."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.maintenance.jobs import MAINTENANCE, cancel_job, start_job
from seawall.controller.records.maintenance import Job, JobKind
from seawall.controller.repositories.credentials import seal_credentials
from seawall.controller.scheduler.wakes import ENDED, Wakes
from seawall.controller.secrets import SecretBox
from seawall.controller.server.drain import Drain
from seawall.controller.services.convert_jobs import job_kind_of, job_message
from seawall.controller.services.naming import find_job, find_repository
from seawall.controller.services.once import Once, asked_by
from seawall.controller.services.paging import cut, fit, page_size, start_of
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock
from seawall.repository.store.location import LocationInvalid, S3Credentials, parse_location

WHOLE = 100


class JobOrders:
    """Belongs to one event loop."""

    def __init__(
        self, store: Store, once: Once, wakes: Wakes, drain: Drain, box: SecretBox, clock: Clock, timings: Timings
    ) -> None:
        self._store = store
        self._once = once
        self._wakes = wakes
        self._drain = drain
        self._box = box
        self._clock = clock
        self._timings = timings

    async def start(self, request: operator_pb2.StartJobRequest) -> resources_pb2.Job:
        """See StartJob in operator.proto, and so on."""
        kind = job_kind_of(request.kind)
        wanted = _wanted(kind, request.spec)
        asked = asked_by(request)

        def closure(transaction: Transaction) -> str:
            repository = find_repository(transaction, request.repository)
            if kind is JobKind.HEAL:
                _check_source(wanted["source_url"], repository.url)
            secret = self._keep_secret(transaction, kind, request)
            return start_job(transaction, repository.id, kind, wanted | secret, self._clock).id

        job_id = await self._store.write(
            lambda transaction: self._once.within(transaction, asked, lambda: closure(transaction))
        )
        self._wakes.notify((MAINTENANCE,))
        return await self.get(job_id)

    async def get(self, text: str) -> resources_pb2.Job:
        return await self._store.read(lambda transaction: _message(transaction, find_job(transaction, text)))

    async def listed(self, request: operator_pb2.ListJobsRequest) -> operator_pb2.ListJobsResponse:
        size, before = page_size(request.page_size), start_of(request.page_token)

        def closure(transaction: Transaction) -> operator_pb2.ListJobsResponse:
            repository_id = find_repository(transaction, request.repository).id if request.repository else ""
            found = transaction.jobs.jobs(repository_id=repository_id, before=before, limit=size + 1)
            page, token = cut(found, size)
            shown, token = fit(page, [_message(transaction, job) for job in page], token)
            return operator_pb2.ListJobsResponse(jobs=shown, next_page_token=token)

        return await self._store.read(closure)

    async def cancel(self, request: operator_pb2.CancelJobRequest) -> resources_pb2.Job:
        asked, now_us = asked_by(request), self._clock.now_us()
        job_id = await self._store.write(
            lambda transaction: self._once.within(
                transaction,
                asked,
                lambda: cancel_job(transaction, find_job(transaction, request.job).id, now_us).id,
            )
        )
        self._wakes.notify((MAINTENANCE, ENDED))
        return await self.get(job_id)

    async def watch(self, text: str) -> AsyncIterator[resources_pb2.Job]:
        """Reads state, never messages: a slow watcher misses steps in between, never the end."""
        job_id = (await self.get(text)).job_id
        shown = 0
        while True:
            seen = self._wakes.seen()
            message = await self.get(job_id)
            if message.version != shown:
                shown = message.version
                yield message
            if message.HasField("ended_at"):
                return
            self._drain.refuse_if_started()
            await self._drain.first(self._wakes.changed(seen), self._timings.scheduler_interval_seconds)
            await self._drain.first(self._drain.wait(), self._timings.watch_interval_seconds)

    def _keep_secret(
        self, transaction: Transaction, kind: JobKind, request: operator_pb2.StartJobRequest
    ) -> dict[str, str]:
        """Keys of the copy, sealed beside the job, which names them."""
        if kind is not JobKind.HEAL or not (request.access_key or request.secret_key):
            return {}
        secret_id = f"heal-{uuid.uuid4()}"
        sealed = seal_credentials(self._box, secret_id, S3Credentials(request.access_key, request.secret_key))
        transaction.repositories.add_secret(secret_id, sealed)
        return {"source_secret_id": secret_id}


def _wanted(kind: JobKind, spec: resources_pb2.JobSpec) -> dict[str, Any]:
    """The job's request, by kind. Raises InvalidArgument/BAD_PERCENT."""
    if kind is JobKind.COLLECT:
        return {"plan_only": spec.plan_only}
    if kind is JobKind.HEAL:
        return {"source_url": spec.source_url}
    if spec.read_data_percent > WHOLE:
        raise InvalidArgument("BAD_PERCENT", f"{spec.read_data_percent} % is more than all of the data.")
    return {"read_data_percent": spec.read_data_percent}


def _check_source(url: str, own_url: str) -> None:
    """Raises InvalidArgument/BAD_URL."""
    try:
        location, own = parse_location(url), parse_location(own_url)
    except LocationInvalid as error:
        raise InvalidArgument("BAD_URL", str(error)) from error
    if location == own:
        raise InvalidArgument("BAD_URL", "That is the repository itself; name a copy of it.")


def _message(transaction: Transaction, job: Job) -> resources_pb2.Job:
    repository = transaction.repositories.repository(job.repository_id)
    return job_message(job, repository.name if repository else "")
