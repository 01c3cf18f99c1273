"""The controller's end of a checking or healing worker's pipe: each call is one of the ledger's. Blocking."""

from typing import Any

from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.maintenance.verify_ledger import VerifyLedger
from seawall.controller.maintenance.verify_wire import (
    from_committed,
    from_pack,
    from_unproven,
    to_damage,
    to_pack,
    to_point,
    to_progress,
)
from seawall.repository.format.slot_set import SlotSet


def verify_calls(ledger: VerifyLedger) -> Calls:
    def damage(body: dict[str, Any]) -> None:
        ledger.damage(to_point(body["point"]), to_damage(body["damage"]) if body["damage"] else None)

    def flawed(body: dict[str, Any]) -> bool:
        return ledger.flawed(to_pack(body["pack"]), SlotSet.parse(bytes.fromhex(body["bad"])))

    return {
        "points": lambda body: [[one, from_committed(point)] for one, point in ledger.points_page(body["after"])],
        "is_available": lambda body: ledger.is_available(to_point(body["point"])),
        "is_known": lambda body: ledger.is_known(to_point(body["point"])),
        "packs": lambda body: [
            from_pack(pack) for pack in ledger.packs([bytes.fromhex(one) for one in body["ids"]]).values()
        ],
        "totals": lambda _: list(ledger.totals()),
        "oldest": lambda body: [from_pack(pack) for pack in ledger.oldest(body["limit"], seen_only=body["seen_only"])],
        "damaged_packs": lambda _: [from_pack(pack) for pack in ledger.damaged_packs()],
        "proven": lambda body: ledger.proven(to_pack(body["pack"])),
        "flawed": flawed,
        "reserve": lambda body: ledger.reserve(to_pack(body["pack"]), body["above"]),
        "healed": lambda body: ledger.healed(
            to_pack(body["pack"]), body["generation"], body["size_bytes"], bytes.fromhex(body["hash"])
        ),
        "unproven": lambda body: [
            from_unproven(point) for point in ledger.unproven(body["limit"], again=body["again"])
        ],
        "proved": lambda body: ledger.proved(to_point(body["point"]), body["proved"], body["read_us"]),
        "damage": damage,
        "progress": lambda body: ledger.progress(to_progress(body)),
        "may_continue": lambda _: ledger.may_continue(),
        "leader": lambda _: [ledger.leader().epoch, ledger.leader().holder],
    }
