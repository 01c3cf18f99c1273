"""Runs, attempts and progress: records to messages and back."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from seawall.api.v1 import resources_pb2
from seawall.controller.records.runs import (
    Attempt,
    AttemptState,
    DiskProgress,
    Failure,
    FailureKind,
    FreezePolicy,
    Progress,
    ReadMethod,
    RestoreSpec,
    RunWarning,
)
from seawall.controller.runs.eta import EtaBand
from seawall.controller.runs.silence import last_known
from seawall.controller.services.convert_hooks import call_messages
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.views import RunView
from seawall.controller.text import printable, sentence

W = TypeVar("W", bound=StrEnum)
MOST_DISKS = 256
MOST_WARNINGS = 100
MOST_NOTES = 20
ATTEMPT_STATE = "ATTEMPT_STATE_"
READ_METHOD = "READ_METHOD_"


def run_message(view: RunView) -> resources_pb2.Run:
    run = view.run
    return resources_pb2.Run(
        run_id=run.id,
        kind=resources_pb2.RunKind.Value(f"RUN_KIND_{run.kind}"),
        vm_id=run.vm_id,
        vm_name=run.vm_name,
        state=resources_pb2.RunState.Value(f"RUN_STATE_{run.state}"),
        blocked_on=run.blocked_on,
        repository=view.repository_name,
        point_id=run.point_id,
        attempts=[_attempt(each, view) for each in view.attempts],
        cancel_requested=run.cancel_us > 0,
        warnings=warning_messages(run.warnings),
        failure=_failure(run.failure),
        created_at=timestamp(run.created_us),
        ended_at=timestamp(run.ended_us),
        restore=_restore(run.restore),
        policy=view.policy_name,
        nominal_at=timestamp(run.nominal_us),
        version=sum(view.mark),  # each part only ever grows
        settings=run.backup.chosen if run.backup else (),
        hooks=call_messages(view.hooks, view.attempts),
        tenant=run.tenant,
    )


def _attempt(attempt: Attempt, view: RunView) -> resources_pb2.Attempt:
    progress, band = view.progress.get(attempt.id), view.bands.get(attempt.id)
    silence = view.silences.get(attempt.id)
    if silence is not None:
        progress, band = last_known(progress) if progress is not None else None, None
    return resources_pb2.Attempt(
        attempt_id=attempt.id,
        attempt_no=attempt.no,
        host_id=attempt.host_id,
        host_name=view.host_names.get(attempt.host_id, ""),
        state=resources_pb2.AttemptState.Value(ATTEMPT_STATE + attempt.state),
        failure=_failure(attempt.failure),
        created_at=timestamp(attempt.created_us),
        ended_at=timestamp(attempt.ended_us),
        progress=_progress(attempt.id, progress, band),
        silent_since=timestamp(silence.since_us) if silence is not None else None,
        given_up_at=timestamp(silence.given_up_us) if silence is not None else None,
    )


def _progress(attempt_id: str, progress: Progress | None, band: EtaBand | None) -> resources_pb2.AttemptProgress | None:
    if progress is None:
        return None
    return resources_pb2.AttemptProgress(
        attempt_id=attempt_id,
        seq=progress.seq,
        state=resources_pb2.AttemptState.Value(ATTEMPT_STATE + progress.state),
        phase=progress.phase,
        disks=[_disk(each) for each in progress.disks],
        waiting_on=progress.waiting_on,
        bottleneck=progress.bottleneck,
        rate_bytes_per_second=progress.rate_bytes_per_second,
        eta_seconds=progress.eta_seconds,
        notes=progress.notes,
        held_back_ms=progress.held_back_ms,
        frozen_ms=progress.frozen_ms,
        eta_low_seconds=band.low if band else 0,
        eta_high_seconds=band.high if band else 0,
    )


def _disk(disk: DiskProgress) -> resources_pb2.DiskProgress:
    return resources_pb2.DiskProgress(
        disk=disk.disk,
        size_bytes=disk.size_bytes,
        planned_bytes=disk.planned_bytes,
        read_bytes=disk.read_bytes,
        new_bytes=disk.new_bytes,
        stored_bytes=disk.stored_bytes,
        how=resources_pb2.ReadMethod.Value(READ_METHOD + disk.how),
        why=disk.why,
        done=disk.done,
    )


def progress_of(message: resources_pb2.AttemptProgress) -> Progress:
    """A state that this controller does not know counts as PREPARING."""
    return Progress(
        seq=message.seq,
        state=_word(AttemptState, resources_pb2.AttemptState, message.state, ATTEMPT_STATE, AttemptState.PREPARING),
        phase=printable(message.phase),
        disks=tuple(_disk_of(each) for each in message.disks[:MOST_DISKS]),
        waiting_on=printable(message.waiting_on),
        bottleneck=printable(message.bottleneck),
        rate_bytes_per_second=message.rate_bytes_per_second,
        eta_seconds=message.eta_seconds,
        notes=tuple(sentence(each) for each in message.notes[:MOST_NOTES]),
        held_back_ms=message.held_back_ms,
        frozen_ms=message.frozen_ms,
    )


def _disk_of(message: resources_pb2.DiskProgress) -> DiskProgress:
    return DiskProgress(
        disk=printable(message.disk),
        size_bytes=message.size_bytes,
        planned_bytes=message.planned_bytes,
        read_bytes=message.read_bytes,
        new_bytes=message.new_bytes,
        stored_bytes=message.stored_bytes,
        how=read_method_of(message.how),
        why=sentence(message.why),
        done=message.done,
    )


def read_method_of(value: "resources_pb2.ReadMethod.ValueType") -> ReadMethod:
    return _word(ReadMethod, resources_pb2.ReadMethod, value, READ_METHOD, ReadMethod.UNSPECIFIED)


def _word(kind: type[W], wire: Any, value: int, prefix: str, unknown: W) -> W:
    """The record's word for a value on the wire; `unknown` for one that this controller does not know."""
    try:
        return kind(wire.Name(value).removeprefix(prefix))
    except ValueError:
        return unknown


def warning_messages(warnings: Sequence[RunWarning]) -> list[resources_pb2.Warning]:
    return [resources_pb2.Warning(reason=each.reason, message=each.message) for each in warnings]


def warnings_of(messages: Iterable[resources_pb2.Warning]) -> tuple[RunWarning, ...]:
    kept = islice(messages, MOST_WARNINGS)
    return tuple(RunWarning(printable(each.reason), sentence(each.message)) for each in kept)


def failure_of(message: resources_pb2.Failure) -> Failure:
    """An unknown kind is worth another try."""
    kind = _word(FailureKind, resources_pb2.FailureKind, message.kind, "FAILURE_KIND_", FailureKind.TRANSIENT)
    reason = printable(message.reason) or "UNKNOWN"
    return Failure(reason, sentence(message.message), sentence(message.next_step), kind)


def _failure(failure: Failure | None) -> resources_pb2.Failure | None:
    if failure is None:
        return None
    kind = resources_pb2.FailureKind.Value(f"FAILURE_KIND_{failure.kind}")
    return resources_pb2.Failure(reason=failure.reason, message=failure.message, next_step=failure.next_step, kind=kind)


def _restore(spec: RestoreSpec | None) -> resources_pb2.RestoreSpec | None:
    return None if spec is None else restore_message(spec)


def restore_message(spec: RestoreSpec) -> resources_pb2.RestoreSpec:
    return resources_pb2.RestoreSpec(
        point_id=spec.point_id,
        host_id=spec.host_id,
        vm_name=spec.vm_name,
        new_identity=spec.new_identity,
        start=spec.start,
        directory=spec.directory,
        disks=spec.disks,
    )


def restore_of(message: resources_pb2.RestoreSpec) -> RestoreSpec:
    return RestoreSpec(
        point_id=message.point_id,
        host_id=message.host_id,
        vm_name=message.vm_name,
        new_identity=message.new_identity,
        start=message.start,
        directory=message.directory,
        disks=tuple(message.disks),
    )


def freeze_value(freeze: FreezePolicy) -> "resources_pb2.FreezePolicy.ValueType":
    return resources_pb2.FreezePolicy.Value(f"FREEZE_POLICY_{freeze}")
