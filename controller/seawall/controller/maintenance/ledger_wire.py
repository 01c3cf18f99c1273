"""The ledger's values as JSON, both ways: what goes through the pipe between controller and worker. Bytes are hex."""

from typing import Any

from seawall.repository.collecting.port import (
    Arrivals,
    Condemned,
    Doomed,
    PackFacts,
    PackStanding,
    PointRoot,
    RootState,
)
from seawall.repository.format.slot_set import SlotSet


def from_pack(pack: PackFacts) -> list[Any]:
    return [
        pack.pack_id.hex(),
        pack.tenant,
        pack.standing.value,
        pack.meta,
        pack.size_bytes,
        pack.slots,
        pack.generation,
        pack.condemned.encoded.hex(),
        pack.in_use,
        pack.waiting,
        pack.ripe,
        pack.generation_hash.hex(),
    ]


def to_pack(fields: list[Any]) -> PackFacts:
    pack_id, tenant, standing, meta, size_bytes, slots, generation, condemned, in_use, waiting, ripe, proof = fields
    return PackFacts(
        bytes.fromhex(pack_id),
        tenant,
        PackStanding(standing),
        meta,
        size_bytes,
        slots,
        generation,
        SlotSet.parse(bytes.fromhex(condemned)),
        in_use,
        waiting,
        ripe,
        bytes.fromhex(proof),
    )


def from_root(root: PointRoot) -> list[Any]:
    return [
        root.tenant,
        root.vm_id,
        root.point_id,
        root.state.value,
        root.seq,
        root.attempt_id,
        root.refmap_hash.hex(),
    ]


def to_root(fields: list[Any]) -> PointRoot:
    tenant, vm_id, point_id, state, seq, attempt_id, refmap_hash = fields
    return PointRoot(tenant, vm_id, point_id, RootState(state), seq, attempt_id, bytes.fromhex(refmap_hash))


def from_slots(slots: dict[bytes, SlotSet]) -> dict[str, str]:
    return {pack_id.hex(): of_pack.encoded.hex() for pack_id, of_pack in slots.items()}


def to_slots(fields: dict[str, str]) -> dict[bytes, SlotSet]:
    return {bytes.fromhex(pack_id): SlotSet.parse(bytes.fromhex(encoded)) for pack_id, encoded in fields.items()}


def from_answer(answer: Condemned | Arrivals) -> dict[str, Any]:
    if isinstance(answer, Condemned):
        return {"seq": answer.seq, "accepted": from_slots(answer.accepted)}
    return {"seq": answer.seq, "points": [from_root(point) for point in answer.points]}


def to_answer(fields: dict[str, Any]) -> Condemned | Arrivals:
    if "accepted" in fields:
        return Condemned(fields["seq"], to_slots(fields["accepted"]))
    return Arrivals(fields["seq"], tuple(to_root(point) for point in fields["points"]))


def from_doomed(doomed: Doomed) -> dict[str, Any]:
    return {"seq": doomed.seq, "packs": [from_pack(pack) for pack in doomed.packs]}


def to_doomed(fields: dict[str, Any]) -> Doomed:
    return Doomed(fields["seq"], tuple(to_pack(pack) for pack in fields["packs"]))


def from_ids(ids: Any) -> list[str]:
    return [one.hex() for one in ids]


def to_ids(fields: list[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in fields]
