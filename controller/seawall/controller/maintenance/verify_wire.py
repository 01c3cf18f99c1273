"""The values of checking as JSON: what goes through the worker's pipe, and what jobs and points keep. Bytes are hex."""

from dataclasses import asdict
from typing import Any

from seawall.repository.checking.check import CheckResult
from seawall.repository.checking.finding import Finding
from seawall.repository.checking.heal import HealResult
from seawall.repository.checking.port import CommittedPoint, PackFacts, PointDamage, Progress, Unproven
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import SlotSet

FINDINGS_SENT = 200
_UNITS = {"structure": ("points", "points_done", "points_total"), "healing": ("packs", "packs_done", "packs_total")}
_BYTES = ("bytes", "bytes_done", "bytes_total")


def from_pack(pack: PackFacts) -> list[Any]:
    return [
        pack.id.hex(),
        pack.tenant,
        pack.meta,
        pack.generation,
        pack.size_bytes,
        pack.slots,
        pack.looked_us,
        pack.whole,
        pack.condemned.encoded.hex(),
        pack.bad.encoded.hex(),
        pack.generation_hash.hex(),
    ]


def to_pack(fields: list[Any]) -> PackFacts:
    pack_id, tenant, meta, generation, size_bytes, slots, looked_us, whole, condemned, bad, proof = fields
    return PackFacts(
        bytes.fromhex(pack_id),
        tenant,
        meta,
        generation,
        size_bytes,
        slots,
        looked_us,
        whole,
        SlotSet.parse(bytes.fromhex(condemned)),
        SlotSet.parse(bytes.fromhex(bad)),
        bytes.fromhex(proof),
    )


def from_point(point: PointName) -> list[str]:
    return [point.tenant, point.vm_id, point.point_id]


def to_point(fields: list[str]) -> PointName:
    tenant, vm_id, point_id = fields
    return PointName(tenant, vm_id, point_id)


def from_committed(point: CommittedPoint | None) -> list[Any] | None:
    return None if point is None else [*from_point(point.name), point.damaged]


def to_committed(fields: list[Any]) -> CommittedPoint:
    return CommittedPoint(to_point(fields[:3]), fields[3])


def from_unproven(point: Unproven) -> list[Any]:
    return [from_point(point.name), None if point.sibling is None else from_point(point.sibling)]


def to_unproven(fields: list[Any]) -> Unproven:
    name, sibling = fields
    return Unproven(to_point(name), None if sibling is None else to_point(sibling))


def from_damage(damage: PointDamage) -> dict[str, Any]:
    return {
        "chunks": damage.chunks,
        "bytes": damage.bytes,
        "packs": [pack_id.hex() for pack_id in damage.packs],
        "packs_total": damage.packs_total,
        "disks": {disk: [list(one) for one in ranges] for disk, ranges in damage.disks.items()},
    }


def to_damage(fields: dict[str, Any]) -> PointDamage:
    return PointDamage(
        chunks=fields["chunks"],
        packs=tuple(bytes.fromhex(pack_id) for pack_id in fields["packs"]),
        packs_total=fields["packs_total"],
        bytes=fields["bytes"],
        disks={disk: tuple((offset, length) for offset, length in ranges) for disk, ranges in fields["disks"].items()},
    )


def from_progress(progress: Progress) -> dict[str, Any]:
    """`done` and `total` in `unit` for a bar; the counts beside them."""
    counts = asdict(progress)
    unit, done, total = _UNITS.get(progress.phase, _BYTES)
    return {"phase": counts.pop("phase"), "done": counts[done], "total": counts[total], "unit": unit, **counts}


def to_progress(fields: dict[str, Any]) -> Progress:
    return Progress(**{name: value for name, value in fields.items() if name not in ("done", "total", "unit")})


def from_finding(finding: Finding) -> dict[str, Any]:
    return {
        "reason": finding.reason.value,
        "object": finding.object_name,
        "message": f"{finding.sentence[:1].upper()}{finding.sentence[1:]}.",
        "next_step": finding.next_step,
        "points": list(finding.points),
        "points_total": finding.points_total,
    }


def from_result(result: CheckResult | HealResult, milliseconds: int, cpu_milliseconds: int) -> dict[str, Any]:
    """What the job keeps: figures and findings."""
    counts = {name: value for name, value in asdict(result).items() if name != "findings"}
    findings = [from_finding(finding) for finding in result.findings[:FINDINGS_SENT]]
    return counts | {"milliseconds": milliseconds, "cpu_milliseconds": cpu_milliseconds, "findings": findings}
