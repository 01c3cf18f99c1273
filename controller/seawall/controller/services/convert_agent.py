"""What agents and the controller exchange: grants, assignments, signed URLs."""

from seawall.api.v1 import agent_pb2, resources_pb2
from seawall.controller.index.found import Found
from seawall.controller.publishing.handin import HandIn
from seawall.controller.publishing.publisher import AttemptKey
from seawall.controller.runs.machine import Execution
from seawall.controller.services.convert_catalogue import point_disk_of
from seawall.controller.services.convert_runs import freeze_value, progress_of, restore_message, warnings_of
from seawall.controller.services.convert_time import microseconds_of, timestamp
from seawall.controller.services.grants import BackupAccess, PointAccess, RestoreAccess
from seawall.controller.services.transfers import SignedGet
from seawall.repository.format.pack import PACK_TARGET_BYTES
from seawall.repository.store.port import SignedPut

COMPRESSION_LEVEL = 3
HAND_INS = {
    agent_pb2.HAND_IN_ROOT: "root",
    agent_pb2.HAND_IN_REFMAP: "refmap",
    agent_pb2.HAND_IN_LOG: "log",
}


def attempt_key(host_id: str, ref: agent_pb2.AttemptRef) -> AttemptKey:
    return AttemptKey(host_id, ref.attempt_id, ref.attempt_no, ref.db_epoch)


def assignment_message(execution: Execution) -> agent_pb2.Assignment:
    run, attempt = execution.run, execution.attempt
    return agent_pb2.Assignment(
        attempt=agent_pb2.AttemptRef(attempt_id=attempt.id, attempt_no=attempt.no, db_epoch=attempt.db_epoch),
        kind=resources_pb2.RunKind.Value(f"RUN_KIND_{run.kind}"),
        run_id=run.id,
        vm_id=run.vm_id,
        vm_name=run.vm_name,
        cancel=run.cancel_us > 0,
    )


def accepted_message(access: BackupAccess | RestoreAccess) -> agent_pb2.AcceptAttemptResponse:
    if isinstance(access, RestoreAccess):
        return agent_pb2.AcceptAttemptResponse(restore=_restore_grant(access))
    return agent_pb2.AcceptAttemptResponse(backup=_backup_grant(access))


def _backup_grant(access: BackupAccess) -> agent_pb2.BackupGrant:
    run, opened = access.run, access.repository
    secrets, config = opened.repository.secrets, opened.repository.config
    return agent_pb2.BackupGrant(
        run_id=run.id,
        vm_id=run.vm_id,
        tenant=run.tenant,
        repository_id=run.repository_id,
        lineage_id=config.lineage_id,
        key_epoch=access.key_epoch,
        k_dedup=access.k_dedup,
        cut_key=secrets.cut_key,
        repository_public_key=config.repository_public_key,
        chunk_nominal_bytes=config.chunk_nominal_bytes,
        compression_level=access.spec.compression or COMPRESSION_LEVEL,
        pack_target_bytes=PACK_TARGET_BYTES,
        freeze=freeze_value(access.spec.freeze),
        parent=_point_grant(access.parent) if access.parent else None,
        no_parent_reason=access.no_parent_reason,
        exclude_disks=access.spec.exclude_disks,
        bad_slots=[
            agent_pb2.BadSlots(pack_id=pack_id, slots=slots.encoded) for pack_id, slots in access.bad_slots.items()
        ],
        latency_ceiling_ms=access.spec.latency_ceiling_ms,
        bytes_per_second=access.spec.bytes_per_second,
        iops=access.spec.iops,
        scratch_quota_bytes=access.spec.scratch_quota_bytes,
        freeze_limit_ms=access.spec.freeze_limit_ms,
        scratch_ends=access.scratch_ends,
        group_id=access.spec.group_id,
        group_vm_ids=access.spec.group,
        packs_without_md5=opened.packs_without_md5,
    )


def _restore_grant(access: RestoreAccess) -> agent_pb2.RestoreGrant:
    config = access.repository.repository.config
    return agent_pb2.RestoreGrant(
        tenant=access.point.tenant,
        vm_id=access.point.vm_id,
        lineage_id=config.lineage_id,
        k_dedup=access.k_dedup,
        signing_public_key=config.signing_public_key,
        point=_point_grant(access.access),
        spec=restore_message(access.spec),
    )


def _point_grant(access: PointAccess) -> agent_pb2.PointGrant:
    return agent_pb2.PointGrant(
        point_id=access.point_id, url=access.url, data_key=access.data_key, m_hash=access.manifest_hash
    )


def hand_in_of(request: agent_pb2.CompleteAttemptRequest) -> HandIn:
    return HandIn(
        root_hash=request.root_hash,
        refmap_hash=request.refmap_hash,
        instant_us=microseconds_of(request.instant),
        guest_frozen=request.guest_frozen,
        disks=tuple(point_disk_of(each) for each in request.disks),
        warnings=warnings_of(request.warnings),
        progress=progress_of(request.progress) if request.HasField("progress") else None,
        may_leave=request.may_leave,
    )


def location_message(found: Found) -> agent_pb2.ChunkLocation:
    index, pack_id, generation, slot, offset, stored_bytes, raw_bytes, codec = found
    return agent_pb2.ChunkLocation(
        index=index,
        pack_id=pack_id,
        generation=generation,
        slot=slot,
        offset=offset,
        stored_bytes=stored_bytes,
        raw_bytes=raw_bytes,
        codec=codec,
    )


def put_target(signed: SignedPut) -> agent_pb2.PutTarget:
    return agent_pb2.PutTarget(url=signed.url, headers=dict(signed.headers), expires_at=timestamp(signed.expires_us))


def read_url(signed: SignedGet) -> agent_pb2.ReadUrl:
    pack = agent_pb2.PackRef(pack_id=signed.pack_id, generation=signed.generation)
    return agent_pb2.ReadUrl(pack=pack, url=signed.url, expires_at=timestamp(signed.expires_us))
