"""What a worker is granted, from generated types; pure. Apart from `convert`, as the supervisor does without numpy this way (11 MiB)."""

from seawall.agent.control import messages as own
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import resources_pb2 as resources
from seawall.repository.format.record import Codec, Locator
from seawall.repository.format.slot_set import SlotSet

_FREEZE = {resources.FREEZE_POLICY_NEVER: "never", resources.FREEZE_POLICY_REQUIRE: "require"}


def point_grant_of(message: wire.PointGrant) -> own.PointGrant:
    return own.PointGrant(message.point_id, message.url, message.data_key, message.m_hash)


def backup_grant_of(message: wire.BackupGrant) -> own.BackupGrant:
    return own.BackupGrant(
        run_id=message.run_id,
        vm_id=message.vm_id,
        tenant=message.tenant,
        repository_id=message.repository_id,
        lineage_id=message.lineage_id,
        key_epoch=message.key_epoch,
        k_dedup=message.k_dedup,
        cut_key=message.cut_key,
        repository_public_key=message.repository_public_key,
        chunk_nominal_bytes=message.chunk_nominal_bytes,
        compression_level=message.compression_level,
        pack_target_bytes=message.pack_target_bytes,
        freeze=_FREEZE.get(message.freeze, "try"),
        parent=point_grant_of(message.parent) if message.HasField("parent") else None,
        exclude_disks=tuple(message.exclude_disks),
        no_parent=message.no_parent_reason,
        bad=frozenset((one.pack_id, slot) for one in message.bad_slots for slot in SlotSet.parse(one.slots)),
        latency_ceiling_ms=message.latency_ceiling_ms,
        bytes_per_second=message.bytes_per_second,
        iops=message.iops,
        scratch_quota_bytes=message.scratch_quota_bytes,
        freeze_limit_ms=message.freeze_limit_ms,
        scratch_ends=message.scratch_ends,
        group_id=message.group_id,
        group=tuple(message.group_vm_ids),
        packs_without_md5=message.packs_without_md5,
    )


def restore_grant_of(message: wire.RestoreGrant) -> own.RestoreGrant:
    spec = message.spec
    return own.RestoreGrant(
        tenant=message.tenant,
        vm_id=message.vm_id,
        lineage_id=message.lineage_id,
        k_dedup=message.k_dedup,
        signing_public_key=message.signing_public_key,
        point=point_grant_of(message.point),
        spec=own.RestoreSpec(
            spec.point_id, spec.vm_name, spec.new_identity, spec.start, spec.directory, tuple(spec.disks)
        ),
    )


def locator_of(message: wire.ChunkLocation) -> Locator:
    """Raises ValueError on a codec that this version does not know."""
    return Locator(
        message.pack_id,
        message.generation,
        message.slot,
        message.offset,
        message.stored_bytes,
        message.raw_bytes,
        Codec(message.codec),
    )


def target_of(message: wire.PutTarget) -> own.PutTarget:
    return own.PutTarget(message.url, dict(message.headers), message.expires_at.ToMicroseconds())


def read_url_of(message: wire.ReadUrl) -> own.ReadUrl:
    return own.ReadUrl(message.pack.pack_id, message.pack.generation, message.url, message.expires_at.ToMicroseconds())
