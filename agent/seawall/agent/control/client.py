"""The controller as a worker sees it: one typed method per call, each with a deadline, retried, errors mapped. Thread-safe.

The session id may change under a running worker (the supervisor said Hello again), so each try reads it anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc

from seawall.agent.control import convert, convert_grants
from seawall.agent.control.errors import ControllerRefused, ControllerSilent, OutcomeUnknown
from seawall.agent.control.failures import mapped
from seawall.agent.control.messages import (
    AttemptRef,
    BackupGrant,
    Completed,
    Completion,
    Failure,
    Progress,
    PutTarget,
    ReadUrl,
    RestoreGrant,
    SealedTargets,
)
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError, Canceled, ControllerUnreachable
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import agent_pb2_grpc
from seawall.repository.format.record import Locator

CALL_SECONDS = 30.0
COMPLETE_SECONDS = 120.0  # the controller writes two objects before it answers
COMPLETE_WINDOW_SECONDS = (
    3_600.0  # the work is done: asking for the answer costs nothing, and no answer costs the next run its base
)
FAIL_WINDOW_SECONDS = 60.0

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)
T = TypeVar("T")


class _Method(Protocol[Request, Response]):
    def __call__(self, request: Request, *, timeout: float) -> Response: ...


@dataclass(frozen=True, slots=True)
class HandIn:
    """An object for v1/a/<attempt>/."""

    root: bool  # else the refmap
    length_bytes: int
    md5: bytes
    blake3: bytes


@dataclass(slots=True)
class _LostAnswers:
    """How many tries of one call went without an answer, so that nobody knows what they did."""

    count: int = 0


class ControllerClient:
    """One attempt's calls."""

    def __init__(self, channel: grpc.Channel, session: Callable[[], str], ref: AttemptRef, retry: Retry) -> None:
        self._stub = agent_pb2_grpc.AgentServiceStub(channel)
        self._session = session
        self._ref = convert.ref_to(ref)
        self._retry = retry

    def accept(self) -> BackupGrant | RestoreGrant:
        """Take the attempt. Raises Fenced, Canceled, ControllerUnreachable, ControllerRefused (a grant that is not understood)."""
        answer = self._call(
            self._stub.AcceptAttempt, lambda s: wire.AcceptAttemptRequest(session_id=s, attempt=self._ref)
        )
        match answer.WhichOneof("grant"):
            case "backup":
                return convert_grants.backup_grant_of(answer.backup)
            case "restore":
                return convert_grants.restore_grant_of(answer.restore)
        raise ControllerRefused("the controller granted something that this agent does not know: is it older?")

    def lookup(self, chunk_ids: Sequence[bytes]) -> dict[int, Locator]:
        """Position in `chunk_ids` -> locator, for those that may be named without uploading."""
        joined = b"".join(chunk_ids)
        answer = self._call(
            self._stub.Lookup, lambda s: wire.LookupRequest(session_id=s, attempt=self._ref, chunk_ids=joined)
        )
        return {found.index: convert_grants.locator_of(found) for found in answer.found}

    def seal_pack(self, pack_id: bytes, length_bytes: int, md5: bytes, *, meta: bool) -> SealedTargets:
        answer = self._call(
            self._stub.SealPack,
            lambda s: wire.SealPackRequest(
                session_id=s,
                attempt=self._ref,
                pack_id=pack_id,
                length_bytes=length_bytes,
                content_md5=md5,
                meta=meta,
            ),
        )
        if answer.already_stored:
            return SealedTargets(())
        return SealedTargets(tuple(convert_grants.target_of(target) for target in answer.targets))

    def pack_stored(self, pack_id: bytes) -> None:
        """Raises ControllerRefused with reason PACK_VOID, PACK_NOT_IN_STORE or BAD_TABLE."""
        self._call(
            self._stub.PackStored, lambda s: wire.PackStoredRequest(session_id=s, attempt=self._ref, pack_id=pack_id)
        )

    def seal_hand_in(self, item: HandIn) -> PutTarget:
        answer = self._call(
            self._stub.SealHandIn,
            lambda s: wire.SealHandInRequest(
                session_id=s,
                attempt=self._ref,
                what=wire.HAND_IN_ROOT if item.root else wire.HAND_IN_REFMAP,
                length_bytes=item.length_bytes,
                content_md5=item.md5,
                content_hash=item.blake3,
            ),
        )
        return convert_grants.target_of(answer.target)

    def read_urls(self, packs: Sequence[tuple[bytes, int]]) -> list[ReadUrl]:
        """Signed GETs for (pack id, generation), at most 256. Raises ControllerRefused with reason PACK_NOT_READABLE."""
        refs = [wire.PackRef(pack_id=pack_id, generation=generation) for pack_id, generation in packs]
        answer = self._call(
            self._stub.GetReadUrls, lambda s: wire.GetReadUrlsRequest(session_id=s, attempt=self._ref, packs=refs)
        )
        return [convert_grants.read_url_of(url) for url in answer.urls]

    def complete(self, completion: Completion, progress: Progress) -> Completed:
        """Hand in; asked until answered. Raises OutcomeUnknown when no answer came; any other error says that nothing was committed.

        A refusal that follows a lost answer tells of that last call alone: the first one may have committed. Only Canceled speaks for
        both, as a controller cancels nothing that is committed.
        """
        lost = _LostAnswers()
        try:
            answer = self._complete(completion, progress, lost)
        except (Canceled, OutcomeUnknown):
            raise
        except AgentError as error:
            if isinstance(error, ControllerUnreachable) or lost.count:
                raise OutcomeUnknown(str(error)) from error
            raise
        missing = tuple((slot.pack_id, slot.slot) for slot in answer.missing_slots)
        return Completed(answer.point_id, missing, answer.publishing)

    def _complete(
        self, completion: Completion, progress: Progress, lost: "_LostAnswers"
    ) -> wire.CompleteAttemptResponse:
        return self._call(
            self._stub.CompleteAttempt,
            lambda s: wire.CompleteAttemptRequest(
                session_id=s,
                attempt=self._ref,
                root_hash=completion.root_hash,
                refmap_hash=completion.refmap_hash,
                instant=convert.timestamp(completion.instant_us) if completion.instant_us else None,
                guest_frozen=completion.guest_frozen,
                disks=[convert.finished_disk_to(disk) for disk in completion.disks],
                warnings=[convert.warning_to(warning) for warning in completion.warnings],
                progress=convert.progress_to(progress),
                restored_vm_id=completion.restored_vm_id,
                may_leave=completion.may_leave,
            ),
            timeout=COMPLETE_SECONDS,
            window=COMPLETE_WINDOW_SECONDS,
            pause=self._pause_before_asking_again,
            lost=lost,
        )

    def _pause_before_asking_again(self, seconds: float) -> None:
        try:
            self._retry.pause(seconds)
        except AgentError as error:
            raise OutcomeUnknown("told to stop while the answer to the hand-in was outstanding") from error

    def fail(self, failure: Failure, progress: Progress, *, canceled: bool) -> None:
        self._call(
            self._stub.FailAttempt,
            lambda s: wire.FailAttemptRequest(
                session_id=s,
                attempt=self._ref,
                failure=convert.failure_to(failure),
                canceled=canceled,
                progress=convert.progress_to(progress),
            ),
            window=FAIL_WINDOW_SECONDS,
            pause=self._retry.clock.sleep_seconds,  # a worker that was told to stop still reports
        )

    def _call(
        self,
        method: _Method[Request, Response],
        request: Callable[[str], Request],
        *,
        timeout: float = CALL_SECONDS,
        window: float | None = None,
        pause: Callable[[float], None] | None = None,
        lost: "_LostAnswers | None" = None,
    ) -> Response:
        def once() -> Response:
            try:
                return method(request(self._session()), timeout=timeout)
            except grpc.RpcError as error:
                failure = mapped(error)
                if lost is not None and isinstance(failure, ControllerSilent):
                    lost.count += 1
                raise failure from error

        return self._retry(once, window, pause)
