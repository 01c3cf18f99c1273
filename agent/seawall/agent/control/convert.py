"""Between generated types and the agent's own: here and in convert_grants alone are message fields spelled out; pure."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from seawall.agent.control import messages as own
from seawall.agent.errors import FailureKind
from seawall.agent.hypervisor.port import Domain
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import resources_pb2 as resources

_KINDS = {resources.RUN_KIND_BACKUP: own.BACKUP, resources.RUN_KIND_RESTORE: own.RESTORE}
_METHODS = {
    "bitmap": resources.READ_METHOD_BITMAP,
    "compare": resources.READ_METHOD_COMPARE,
    "full": resources.READ_METHOD_FULL,
}
_STATES = {
    own.PREPARING: resources.ATTEMPT_STATE_PREPARING,
    own.TRANSFERRING: resources.ATTEMPT_STATE_TRANSFERRING,
}
_FAILURE_KINDS = {
    FailureKind.TRANSIENT: resources.FAILURE_KIND_TRANSIENT,
    FailureKind.CONFLICT: resources.FAILURE_KIND_CONFLICT,
    FailureKind.PERMANENT: resources.FAILURE_KIND_PERMANENT,
}
_TEXT_LIMIT = 2_048  # metadata and rows stay small; the whole text is in the attempt's log


def duration(seconds: float) -> Duration:
    value = Duration()
    value.FromNanoseconds(int(seconds * 1_000_000_000))
    return value


def seconds(value: Duration) -> float:
    return float(value.ToNanoseconds()) / 1_000_000_000


def timestamp(microseconds: int) -> Timestamp:
    value = Timestamp()
    value.FromMicroseconds(microseconds)
    return value


def ref_of(message: wire.AttemptRef) -> own.AttemptRef:
    return own.AttemptRef(message.attempt_id, message.attempt_no, message.db_epoch)


def ref_to(ref: own.AttemptRef) -> wire.AttemptRef:
    return wire.AttemptRef(attempt_id=ref.attempt_id, attempt_no=ref.attempt_no, db_epoch=ref.db_epoch)


def assignment_of(message: wire.Assignment) -> own.Assignment:
    return own.Assignment(
        ref_of(message.attempt),
        _KINDS.get(message.kind, ""),
        message.run_id,
        message.vm_id,
        message.vm_name,
        message.cancel,
    )


def session_of(message: wire.HelloResponse) -> own.Session:
    return own.Session(
        message.session_id,
        seconds(message.heartbeat_interval) or 15.0,
        seconds(message.lease_ttl) or 90.0,
        seconds(message.poll_wait) or 25.0,
        tuple(message.abandon_attempt_ids),
        message.server_time.ToMicroseconds() if message.HasField("server_time") else 0,
    )


def progress_to(progress: own.Progress) -> resources.AttemptProgress:
    return resources.AttemptProgress(
        attempt_id=progress.attempt_id,
        seq=progress.seq,
        state=_STATES.get(progress.state, resources.ATTEMPT_STATE_PREPARING),
        phase=progress.phase,
        disks=[disk_progress_to(disk) for disk in progress.disks],
        waiting_on=progress.waiting_on,
        bottleneck=progress.bottleneck,
        rate_bytes_per_second=progress.rate_bytes_per_second,
        eta_seconds=progress.eta_seconds,
        notes=[note[:_TEXT_LIMIT] for note in progress.notes],
        held_back_ms=progress.held_back_ms,
        frozen_ms=progress.frozen_ms,
    )


def disk_progress_to(disk: own.DiskProgress) -> resources.DiskProgress:
    return resources.DiskProgress(
        disk=disk.disk,
        size_bytes=disk.size_bytes,
        planned_bytes=disk.planned_bytes,
        read_bytes=disk.read_bytes,
        new_bytes=disk.new_bytes,
        stored_bytes=disk.stored_bytes,
        how=_METHODS.get(disk.how, resources.READ_METHOD_UNSPECIFIED),
        why=disk.why,
        done=disk.done,
    )


def failure_to(failure: own.Failure) -> resources.Failure:
    return resources.Failure(
        reason=failure.reason,
        message=failure.message[:_TEXT_LIMIT],
        next_step=failure.next_step[:_TEXT_LIMIT],
        kind=_FAILURE_KINDS[failure.kind],
    )


def vm_to(domain: Domain) -> resources.Vm:
    return resources.Vm(
        vm_id=domain.vm_id,
        name=domain.name,
        state="saved" if domain.saved else domain.state,
        present=True,
        disks=[
            resources.VmDisk(
                disk=disk.target,
                size_bytes=disk.capacity_bytes,
                format=disk.format,
                source=disk.source,
                read_only=disk.read_only,
                device=disk.device,
                storages=disk.storages,
            )
            for disk in domain.disks
        ],
        tags=domain.tags,
    )


def departure_to(vm_id: str, milliseconds_ago: int) -> wire.VmDeparture:
    return wire.VmDeparture(vm_id=vm_id, milliseconds_ago=milliseconds_ago)


def finished_disk_to(disk: own.FinishedDisk) -> resources.PointDisk:
    return resources.PointDisk(
        disk=disk.disk,
        size_bytes=disk.size_bytes,
        format=disk.format,
        read_bytes=disk.read_bytes,
        new_bytes=disk.new_bytes,
        stored_bytes=disk.stored_bytes,
        how=_METHODS.get(disk.how, resources.READ_METHOD_UNSPECIFIED),
        why=disk.why,
        milliseconds=disk.milliseconds,
    )


def warning_to(warning: tuple[str, str]) -> resources.Warning:
    return resources.Warning(reason=warning[0], message=warning[1][:_TEXT_LIMIT])
