"""Points and repositories: records to messages and back."""

import json

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.records.catalogue import PointDisk
from seawall.controller.records.policies import Hold
from seawall.controller.records.runs import ReadMethod
from seawall.controller.services.convert_runs import READ_METHOD, read_method_of, warning_messages
from seawall.controller.services.convert_time import timestamp
from seawall.controller.services.views import PointView, RepositoryView
from seawall.controller.text import printable, sentence
from seawall.repository.store.survey import WOULD_DO, Survey


def point_message(view: PointView) -> resources_pb2.Point:
    point = view.point
    return resources_pb2.Point(
        point_id=point.id,
        vm_id=point.vm_id,
        vm_name=point.vm_name,
        repository=view.repository_name,
        state=resources_pb2.PointState.Value(f"POINT_STATE_{point.state}"),
        parent_point_id=point.parent_point_id,
        incremental=any(disk.how is ReadMethod.BITMAP for disk in point.disks),
        guest_frozen=point.guest_frozen,
        disks=[_disk_message(disk) for disk in point.disks],
        warnings=warning_messages(point.warnings),
        members=[resources_pb2.PointMember(name=one.name, size_bytes=one.size_bytes) for one in point.members],
        instant=timestamp(point.instant_us),
        published_at=timestamp(point.published_us),
        host_name=view.host_name,
        damage=damage_text(point.damaged),
        verified=point.verified,
        verified_at=timestamp(point.verified_us) if point.verified else None,
        checked_at=timestamp(point.checked_us),
        read_back_at=timestamp(point.read_us),
        holds=[_hold_message(view.hold)] if view.hold else (),
        policy=view.policy_name,
        tenant=point.tenant,
    )


def _hold_message(hold: Hold) -> resources_pb2.PointHold:
    return resources_pb2.PointHold(
        reason=hold.reason, placed_at=timestamp(hold.created_us), until=timestamp(hold.until_us)
    )


def damage_text(damaged: str) -> str:
    """What verification found lost, for people; the record is its JSON."""
    if not damaged:
        return ""
    found = json.loads(damaged)
    known = found if isinstance(found, dict) else {}
    disks = known.get("disks") if isinstance(known.get("disks"), dict) else {}
    where = f" of {', '.join(printable(str(disk)) for disk in disks)}" if disks else ""
    lost = f"{known['bytes']} bytes" if isinstance(known.get("bytes"), int) and known["bytes"] else "Parts"
    return sentence(
        f"{lost}{where} cannot be read; the rest can. seawall repo heal takes them from a copy of the repository."
    )


def _disk_message(disk: PointDisk) -> resources_pb2.PointDisk:
    return resources_pb2.PointDisk(
        disk=disk.disk,
        size_bytes=disk.size_bytes,
        format=disk.format,
        read_bytes=disk.read_bytes,
        new_bytes=disk.new_bytes,
        stored_bytes=disk.stored_bytes,
        how=resources_pb2.ReadMethod.Value(READ_METHOD + disk.how),
        why=disk.why,
        milliseconds=disk.milliseconds,
    )


def point_disk_of(message: resources_pb2.PointDisk) -> PointDisk:
    return PointDisk(
        disk=printable(message.disk),
        size_bytes=message.size_bytes,
        format=printable(message.format),
        read_bytes=message.read_bytes,
        new_bytes=message.new_bytes,
        stored_bytes=message.stored_bytes,
        how=read_method_of(message.how),
        why=sentence(message.why),
        milliseconds=message.milliseconds,
    )


def repository_message(view: RepositoryView, trouble: str) -> resources_pb2.Repository:
    record, found = view.record, view.record.capabilities
    return resources_pb2.Repository(
        repository_id=record.id,
        name=record.name,
        url=record.url,
        lineage_id=record.lineage_hex,
        signing_public_key=bytes.fromhex(record.signing_public_key_hex),
        wrappers=[
            resources_pb2.KeyWrapper(
                name=each.name, epoch=each.epoch, recipient_public_key=bytes.fromhex(each.public_key_hex)
            )
            for each in record.wrappers
        ],
        capabilities=resources_pb2.StoreCapabilities(
            conditional_put=found.conditional_put,
            conditional_put_atomic=found.conditional_put_atomic,
            checks_content_md5=found.checks_content_md5,
            presigned_requires_condition=found.presigned_requires_condition,
            warnings=found.warnings,
            takes_bare_put=found.takes_bare_put,
        ),
        created_at=timestamp(record.created_us),
        point_count=view.totals.points,
        pack_count=view.totals.packs,
        stored_bytes=view.totals.stored_bytes,
        chunk_size=f"{record.chunk_nominal_bytes // 1024}KiB",
        trouble=printable(trouble),
    )


def probed_message(repository: resources_pb2.Repository, found: Survey | None) -> operator_pb2.ProbeRepositoryResponse:
    """None: nothing was tried, only told."""
    if found is None:
        return operator_pb2.ProbeRepositoryResponse(repository=repository, would_do=WOULD_DO)
    return operator_pb2.ProbeRepositoryResponse(
        repository=repository,
        answers=[
            operator_pb2.StoreAnswer(question=one.question, good=one.good, says=printable(one.says))
            for one in found.answers
        ],
        speeds=[
            operator_pb2.StoreSpeed(
                request=one.request,
                size_bytes=one.size_bytes,
                count=one.count,
                median_ms=one.median_ms,
                slowest_ms=one.slowest_ms,
            )
            for one in found.speeds
        ],
    )
