"""The controller's end of a collecting worker's pipe: each call is one of the ledger's. Blocking."""

from collections.abc import Callable, Mapping
from typing import Any

from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.maintenance.ledger_wire import (
    from_answer,
    from_doomed,
    from_ids,
    from_pack,
    from_root,
    to_ids,
    to_slots,
)
from seawall.repository.collecting.port import Slice

Calls = Mapping[str, Callable[[dict[str, Any]], Any]]
"""Call -> what answers it: a JSON object in, JSON out."""


def ledger_calls(ledger: StoreLedger) -> Calls:
    def begin(_: dict[str, Any]) -> Any:
        mark = ledger.begin()
        return {"seq": mark.seq, "epoch": mark.leader.epoch, "holder": mark.leader.holder}

    return {
        "begin": begin,
        "roots": lambda body: [from_root(root) for root in ledger.roots_page(body["after"])],
        "roots_named": lambda body: [from_root(root) for root in ledger.roots_named(body["ids"]).values()],
        "packs": lambda body: [from_pack(pack) for pack in ledger.packs_page(bytes.fromhex(body["after"]))],
        "facts": lambda body: [from_pack(pack) for pack in ledger.facts(to_ids(body["ids"])).values()],
        "spent_attempts": lambda body: sorted(ledger.spent_attempts(body["ids"])),
        "condemn": lambda body: from_answer(ledger.condemn(Slice(to_slots(body["slots"])), body["seen"])),
        "void": lambda body: from_ids(ledger.void(to_ids(body["ids"]))),
        "number": lambda _: ledger.number(),
        "doom": lambda body: from_doomed(ledger.doom(to_ids(body["ids"]))),
        "reserve_generation": lambda body: ledger.reserve_generation(bytes.fromhex(body["id"]), body["above"]),
        "compacted": lambda body: ledger.compacted(
            bytes.fromhex(body["id"]), body["generation"], body["size_bytes"], bytes.fromhex(body["hash"])
        ),
        "deleted": lambda body: ledger.deleted(to_ids(body["ids"])),
        "may_continue": lambda body: ledger.may_continue(),
        "report": lambda body: ledger.report(**body),
    }
