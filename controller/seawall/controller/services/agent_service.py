"""AgentService on the wire: who calls, words to records, records to words. What happens is in sessions, attempts and transfers."""

import asyncio
from collections.abc import Collection, Sized
from typing import Any, cast

from grpc import aio

from seawall.api.v1 import agent_pb2, agent_pb2_grpc
from seawall.controller.admission.shares import FLOOR_BYTES_PER_SECOND
from seawall.controller.certificates.telling import Telling, Told
from seawall.controller.enrolment.enrol import Enrolment
from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.publishing.slots import SlotRef
from seawall.controller.records.runs import RunKind
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.auth import agent_id_of, certificate_of
from seawall.controller.server.drain import Drain
from seawall.controller.services.attempts import Attempts
from seawall.controller.services.blocking import Blocking
from seawall.controller.services.convert_agent import (
    HAND_INS,
    accepted_message,
    assignment_message,
    attempt_key,
    hand_in_of,
    location_message,
    put_target,
    read_url,
)
from seawall.controller.services.convert_fleet import vm_of
from seawall.controller.services.convert_moves import departures_of
from seawall.controller.services.convert_runs import failure_of, progress_of, warnings_of
from seawall.controller.services.convert_time import duration, seconds_of, timestamp
from seawall.controller.services.heartbeats import Traffic
from seawall.controller.services.inventory import Inventories
from seawall.controller.services.outdated import OutdatedHosts
from seawall.controller.services.protocol import Protocols
from seawall.controller.services.sessions import Desired, Greeting, Sessions
from seawall.controller.services.transfers import Transfers
from seawall.controller.text import printable
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock
from seawall.repository.format.layout import HandInKind

MOST_VMS = 200
MOST_ATTEMPTS = 1000
MOST_MISSING = 10_000  # of 24 bytes each: well under the 4 MiB of a message; the next hand-in names the rest

Context = aio.ServicerContext[Any, Any]


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    """Errors leave as ControllerError; the status interceptor maps them."""

    def __init__(
        self,
        sessions: Sessions,
        inventories: Inventories,
        attempts: Attempts,
        transfers: Transfers,
        enrolment: Enrolment,
        telling: Telling,
        blocking: Blocking,
        wakes: Wakes,
        drain: Drain,
        clock: Clock,
        timings: Timings,
        protocols: Protocols,
        outdated: OutdatedHosts,
    ) -> None:
        self._sessions = sessions
        self._inventories = inventories
        self._attempts = attempts
        self._transfers = transfers
        self._enrolment = enrolment
        self._telling = telling
        self._blocking = blocking
        self._wakes = wakes
        self._drain = drain
        self._clock = clock
        self._timings = timings
        self._protocols = protocols
        self._outdated = outdated

    async def Hello(self, request: agent_pb2.HelloRequest, context: Context) -> agent_pb2.HelloResponse:
        protocol = self._agreed(request, agent_id_of(context))
        _check_count(request.attempts)
        attempts = {each.attempt.attempt_id: each.worker_running for each in request.attempts}
        greeting = Greeting(
            printable(request.agent_version),
            printable(request.boot_id),
            printable(request.host_name),
            printable(request.hypervisor_version),
            attempts,
        )
        welcome = await self._sessions.hello(agent_id_of(context), greeting)
        told = self._told(request.trusted_root_sha256, context)
        return agent_pb2.HelloResponse(
            session_id=welcome.session_id,
            protocol=protocol,
            heartbeat_interval=duration(self._timings.heartbeat_seconds),
            lease_ttl=duration(self._timings.lease_ttl_seconds),
            poll_wait=duration(self._timings.poll_wait_seconds),
            abandon_attempt_ids=welcome.abandoned,
            server_time=timestamp(self._clock.now_us()),
            ca_bundle_pem=told.bundle_pem,
            renew_certificate=told.renew,
        )

    async def Poll(self, request: agent_pb2.PollRequest, context: Context) -> agent_pb2.PollResponse:
        agent_id = agent_id_of(context)
        wait = min(seconds_of(request.wait), self._timings.poll_wait_seconds)
        deadline, woken = self._clock.monotonic_seconds() + wait, False
        while True:
            seen = self._wakes.seen(agent_id)
            desired = await self._sessions.poll(agent_id, request.session_id, woken=woken)
            left = deadline - self._clock.monotonic_seconds()
            if desired.generation != request.known_generation or self._drain.started or left <= 0:
                return _poll_message(desired)
            woken = await self._drain.first(self._wakes.changed(seen, agent_id), left)
            if not woken:
                return _poll_message(desired)  # still so: every change of it wakes

    async def Heartbeat(self, request: agent_pb2.HeartbeatRequest, context: Context) -> agent_pb2.HeartbeatResponse:
        _check_count(request.attempts)
        reports = {each.attempt_id: progress_of(each) for each in request.attempts}
        traffic = Traffic(request.demand_bytes_per_second, request.rate_bytes_per_second)
        beat = await self._sessions.heartbeat(agent_id_of(context), request.session_id, reports, traffic)
        told = self._told(request.trusted_root_sha256, context)
        return agent_pb2.HeartbeatResponse(
            lease_ttl=duration(self._timings.lease_ttl_seconds),
            generation=beat.generation,
            unknown_attempt_ids=beat.unknown,
            cancel_attempt_ids=beat.cancel,
            bytes_per_second=beat.bytes_per_second,
            valid_for=duration(self._timings.share_valid_seconds),
            floor_bytes_per_second=FLOOR_BYTES_PER_SECOND,
            ca_bundle_pem=told.bundle_pem,
            renew_certificate=told.renew,
        )

    async def AcceptAttempt(
        self, request: agent_pb2.AcceptAttemptRequest, context: Context
    ) -> agent_pb2.AcceptAttemptResponse:
        key = attempt_key(agent_id_of(context), request.attempt)
        return accepted_message(await self._attempts.accept(key, request.session_id))

    async def FailAttempt(
        self, request: agent_pb2.FailAttemptRequest, context: Context
    ) -> agent_pb2.FailAttemptResponse:
        key = attempt_key(agent_id_of(context), request.attempt)
        progress = progress_of(request.progress) if request.HasField("progress") else None
        await self._attempts.fail(key, request.session_id, failure_of(request.failure), request.canceled, progress)
        return agent_pb2.FailAttemptResponse()

    async def CompleteAttempt(
        self, request: agent_pb2.CompleteAttemptRequest, context: Context
    ) -> agent_pb2.CompleteAttemptResponse:
        key = attempt_key(agent_id_of(context), request.attempt)
        hand_in = hand_in_of(request)
        if await self._attempts.kind_of(key, request.session_id) is RunKind.RESTORE:
            point_id = await self._attempts.complete_restore(
                key,
                request.session_id,
                warnings_of(request.warnings),
                printable(request.restored_vm_id),
                hand_in.progress,
            )
            return agent_pb2.CompleteAttemptResponse(point_id=point_id)
        completion = await self._attempts.complete_backup(key, hand_in)
        missing = [_slot_message(each) for each in completion.missing[:MOST_MISSING]]
        return agent_pb2.CompleteAttemptResponse(
            point_id=completion.point_id, missing_slots=missing, publishing=completion.publishing
        )

    async def Lookup(self, request: agent_pb2.LookupRequest, context: Context) -> agent_pb2.LookupResponse:
        key, session_id = attempt_key(agent_id_of(context), request.attempt), request.session_id

        def look() -> agent_pb2.LookupResponse:
            found = self._transfers.lookup(key, session_id, request.chunk_ids)
            return agent_pb2.LookupResponse(found=[location_message(each) for each in found])

        return await self._blocking.run(look)

    async def SealPack(self, request: agent_pb2.SealPackRequest, context: Context) -> agent_pb2.SealPackResponse:
        key, session_id = attempt_key(agent_id_of(context), request.attempt), request.session_id
        sealed = await self._blocking.run(
            lambda: self._transfers.seal_pack(
                key, session_id, request.pack_id, request.length_bytes, request.content_md5, request.meta
            )
        )
        targets = [put_target(each) for each in sealed.targets]
        return agent_pb2.SealPackResponse(targets=targets, already_stored=sealed.already_stored)

    async def PackStored(self, request: agent_pb2.PackStoredRequest, context: Context) -> agent_pb2.PackStoredResponse:
        key, session_id = attempt_key(agent_id_of(context), request.attempt), request.session_id
        await self._blocking.run(lambda: self._transfers.pack_stored(key, session_id, request.pack_id))
        return agent_pb2.PackStoredResponse()

    async def SealHandIn(self, request: agent_pb2.SealHandInRequest, context: Context) -> agent_pb2.SealHandInResponse:
        key, session_id = attempt_key(agent_id_of(context), request.attempt), request.session_id
        if request.what not in HAND_INS:
            raise InvalidArgument("BAD_HAND_IN", "A hand-in is a root, a refmap or a log.")
        what = cast(HandInKind, HAND_INS[request.what])
        signed = await self._blocking.run(
            lambda: self._transfers.seal_hand_in(
                key, session_id, what, request.length_bytes, request.content_md5, request.content_hash
            )
        )
        return agent_pb2.SealHandInResponse(target=put_target(signed))

    async def GetReadUrls(
        self, request: agent_pb2.GetReadUrlsRequest, context: Context
    ) -> agent_pb2.GetReadUrlsResponse:
        key, session_id = attempt_key(agent_id_of(context), request.attempt), request.session_id
        packs = [(each.pack_id, each.generation) for each in request.packs]
        urls = await self._blocking.run(lambda: self._transfers.read_urls(key, session_id, packs))
        return agent_pb2.GetReadUrlsResponse(urls=[read_url(each) for each in urls])

    async def ReportInventory(
        self, request: agent_pb2.ReportInventoryRequest, context: Context
    ) -> agent_pb2.ReportInventoryResponse:
        if len(request.vms) > MOST_VMS:
            raise InvalidArgument("TOO_MANY_VMS", f"At most {MOST_VMS} VMs a page.")
        agent_id, now_us = agent_id_of(context), self._clock.now_us()
        vms = [vm_of(each, agent_id, now_us) for each in request.vms]
        left_us = departures_of(request.departures, now_us)
        disputed = await self._inventories.report(
            agent_id, request.session_id, request.revision, request.page, request.last, vms, left_us
        )
        timings = self._timings
        pause = timings.disputed_inventory_seconds if disputed else timings.inventory_seconds
        return agent_pb2.ReportInventoryResponse(next_report=duration(pause))

    async def RenewCertificate(
        self, request: agent_pb2.RenewCertificateRequest, context: Context
    ) -> agent_pb2.RenewCertificateResponse:
        issued = await asyncio.to_thread(self._enrolment.renew, agent_id_of(context), request.csr_der)
        return agent_pb2.RenewCertificateResponse(
            certificate_pem=issued.chain_pem,
            ca_bundle_pem=self._telling.bundle_pem,
            expires_at=timestamp(issued.expires_us),
        )

    def _agreed(self, request: agent_pb2.HelloRequest, agent_id: str) -> int:
        """The session's protocol. Raises FailedPrecondition/NEEDS_UPGRADE; then the host is shown as one that needs it."""
        least, most = request.protocol_min, request.protocol_max
        try:
            protocol = self._protocols.agreed(least, most)
        except FailedPrecondition as error:
            older = self._protocols.older_than(least, most)
            self._outdated.refused(agent_id, printable(request.agent_version), str(error), by_older=older)
            raise
        self._outdated.welcomed(agent_id)
        return protocol

    def _told(self, trusted_sha256: Collection[bytes], context: Context) -> Told:
        return self._telling.answer(agent_id_of(context), trusted_sha256, certificate_of(context))


def _poll_message(desired: Desired) -> agent_pb2.PollResponse:
    assignments = [assignment_message(each) for each in desired.executions]
    return agent_pb2.PollResponse(generation=desired.generation, assignments=assignments)


def _check_count(attempts: Sized) -> None:
    if len(attempts) > MOST_ATTEMPTS:
        raise InvalidArgument("TOO_MANY_ATTEMPTS", f"At most {MOST_ATTEMPTS} attempts a call.")


def _slot_message(slot: SlotRef) -> agent_pb2.SlotRef:
    return agent_pb2.SlotRef(pack_id=slot.pack_id, slot=slot.slot)
