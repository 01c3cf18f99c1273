"""The answers of `seawall rescue --json`: numbers as numbers, times as ISO 8601, what is not known as null."""

from typing import Any

from seawall.cli.text import iso_time
from seawall.repository.rescue.catalogue import Catalogue, DamagedPoint, PointSummary, VmSummary
from seawall.repository.rescue.opening import RescuePoint, RescueRepository
from seawall.repository.rescue.plan import DevicePlan, FolderPlan
from seawall.repository.rescue.restore import DiskRun, RescueRun, damage_document

Document = dict[str, Any]


def catalogue_document(opened: RescueRepository, catalogue: Catalogue, now_us: int) -> Document:
    """{"repository", "vms", "points" (damaged ones too, newest first), "ignored", "forgotten", "void", "tombstones_ignored", "notes"}."""
    config = opened.repository.config
    return {
        "repository": {
            "url": opened.url,
            "lineage_id": config.lineage_id.hex(),
            "signing_public_key": config.signing_public_key.hex(),
            "signing_key_pinned": opened.pinned,
        },
        "vms": [_vm(vm, now_us) for vm in catalogue.vms()],
        "points": [*map(_point, catalogue.points), *map(_damaged, catalogue.damaged)],
        "ignored": list(catalogue.strange),
        "forgotten": [point.point_id for point in catalogue.forgotten],
        "void": [point.point_id for point in catalogue.void],
        "tombstones_ignored": [point.point_id for point in catalogue.disregarded],
        "notes": list(opened.notes),
    }


def _vm(vm: VmSummary, now_us: int) -> Document:
    newest = vm.newest
    return {
        "tenant": vm.tenant,
        "vm_id": vm.vm_id,
        "vm_name": vm.vm_name or None,
        "points": vm.points,
        "damaged_points": vm.damaged,
        "newest_point_id": newest.name.point_id if newest else None,
        "newest_instant": _time(newest.instant_us) if newest else None,
        "newest_age_seconds": (now_us - newest.instant_us) // 1_000_000 if newest else None,
    }


def _point(point: PointSummary) -> Document:
    return {
        "point_id": point.name.point_id,
        "tenant": point.name.tenant,
        "vm_id": point.name.vm_id,
        "vm_name": point.vm_name,
        "state": "available",
        "damage": None,
        "instant": _time(point.instant_us),
        "published_at": _time(point.published_us),
        "parent_point_id": point.parent_point_id or None,
        "guest_frozen": point.guest_frozen,
        "size_bytes": point.size_bytes,
        "disks": [
            {"disk": disk.disk, "size_bytes": disk.size_bytes, "format": disk.format, "how": disk.how}
            for disk in point.disks
        ],
        "members": list(point.members),
        "warnings": [{"reason": reason, "message": message} for reason, message in point.warnings],
    }


def _damaged(point: DamagedPoint) -> Document:
    unknown = ("instant", "published_at", "parent_point_id", "guest_frozen", "size_bytes")
    return {
        "point_id": point.name.point_id,
        "tenant": point.name.tenant,
        "vm_id": point.name.vm_id,
        "vm_name": point.vm_name or None,
        "state": "damaged",
        "damage": {
            "object": point.object_name,
            "message": point.error,
            "affects": f"point {point.name.point_id} of VM {point.vm_name or point.name.vm_id}: it cannot be restored",
        },
        **dict.fromkeys(unknown),
        "disks": [],
        "members": [],
        "warnings": [],
    }


def plan_document(point: RescuePoint, plan: FolderPlan | DevicePlan) -> Document:
    """What `--plan` says."""
    if isinstance(plan, DevicePlan):
        disk = {
            "disk": plan.manifest.disk,
            "size_bytes": plan.manifest.size_bytes,
            "at_most_bytes": plan.at_most_bytes,
            "target": str(plan.path),
            "state": "device",
        }
        return {**_head(point), "disks": [disk], "device_bytes": plan.device_bytes}
    return {
        **_head(point),
        "directory": str(plan.path),
        "disks": [
            {
                "disk": image.manifest.disk,
                "size_bytes": image.manifest.size_bytes,
                "at_most_bytes": image.at_most_bytes,
                "target": str(plan.path / image.file_name),
                "state": image.state.found.name.lower(),
            }
            for image in plan.images
        ],
        "files": [str(plan.path / name) for name, _ in plan.small_files],
        "lost": list(plan.lost_members),
        "needed_bytes": plan.needed_bytes,
        "free_bytes": plan.free_bytes,
    }


def outcome_document(
    opened: RescueRepository, point: RescuePoint, plan: FolderPlan | DevicePlan, run: RescueRun
) -> Document:
    """What a restore came to. `complete`: every byte that was asked for is there, proven."""
    return {
        **_head(point),
        "complete": run.complete,
        "signing_key_pinned": opened.pinned,
        "disks": [_disk(disk) for disk in run.disks],
        "files": [str(path) for path in run.files],
        "lost": list(plan.lost_members) if isinstance(plan, FolderPlan) else [],
        "notes": [*opened.notes, *(f"altered, and passed over: {sentence}" for sentence in run.passed_over)],
    }


def _head(point: RescuePoint) -> Document:
    root = point.root
    return {
        "point_id": root.point_id,
        "vm_id": root.vm_id,
        "vm_name": root.vm_name,
        "instant": _time(root.instant_us),
        "guest_frozen": root.guest_frozen,
    }


def _disk(disk: DiskRun) -> Document:
    counters = disk.counters
    return {
        "disk": disk.manifest.disk,
        "size_bytes": disk.manifest.size_bytes,
        "target": str(disk.target),
        "state": disk.state.value,
        "written_bytes": counters.written_bytes,
        "fetched_bytes": counters.fetched_bytes,
        "kept_bytes": counters.kept_bytes,
        "lost_bytes": sum(damage.length for damage in disk.damages),
        "seconds": round(disk.seconds, 3),
        "damages": [damage_document(damage) for damage in disk.damages],
        "damage_file": str(disk.damage_file) if disk.damage_file else None,
    }


def _time(microseconds: int) -> str | None:
    """An agent's clock wrote it: it may be no year that there is."""
    try:
        return iso_time(microseconds)
    except (ValueError, OverflowError, OSError):
        return None
