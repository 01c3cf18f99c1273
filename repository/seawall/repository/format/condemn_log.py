"""Condemn logs `v1/c/condemned/<seq>-<epoch>`: which slots leave, said by the controller before anything is deleted.

A controller whose database was restored from an older copy learns from them what it must never name again.

header | length u32 | statement (canonical JSON) | entries x (pack id (16) | slot set), sorted by id | Ed25519 signature (64)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from seawall.repository.crypto.signing import CONDEMNED_DOMAIN, sign
from seawall.repository.errors import IntegrityError
from seawall.repository.format.altered import told_apart
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.descriptor import signed_part, with_descriptor
from seawall.repository.format.header import CONDEMNED
from seawall.repository.format.pack_layout import PACK_ID_BYTES
from seawall.repository.format.record import LINEAGE_ID_BYTES
from seawall.repository.format.slot_set import SlotSet, decode_slot_set

MAX_LOG_PACKS = 4096
WHAT = "condemn log"


@dataclass(frozen=True, slots=True)
class CondemnStatement:
    """`seq`: the number of the step that decided it, among the publications of the repository. `epoch`: of the leader who did."""

    lineage_id: bytes
    seq: int
    epoch: int
    packs: int


@dataclass(frozen=True, slots=True)
class CondemnLog:
    """`slots`: all condemned slots of each pack."""

    lineage_id: bytes
    seq: int
    epoch: int
    slots: Mapping[bytes, SlotSet]


def sign_condemn_log(log: CondemnLog, signing_secret_key: bytes) -> bytes:
    """Raises ValueError on what cannot be read back: no packs or too many, empty sets, ids of a wrong length."""
    ids_hold = all(len(pack_id) == PACK_ID_BYTES for pack_id in log.slots)
    if not 0 < len(log.slots) <= MAX_LOG_PACKS or not ids_hold or not all(log.slots.values()):
        raise ValueError(f"a condemn log names slots of 1 to {MAX_LOG_PACKS} packs")
    if len(log.lineage_id) != LINEAGE_ID_BYTES:
        raise ValueError(f"a lineage id has {LINEAGE_ID_BYTES} bytes")
    statement = CondemnStatement(log.lineage_id, log.seq, log.epoch, len(log.slots))
    entries = b"".join(pack_id + log.slots[pack_id].encoded for pack_id in sorted(log.slots))
    body = with_descriptor(CONDEMNED, to_canonical(statement)) + entries
    return body + sign(signing_secret_key, CONDEMNED_DOMAIN, body)


def open_condemn_log(body: bytes, signing_public_key: bytes) -> CondemnLog:
    """Signature checked; whose repository it speaks of is for the caller to compare. Raises IntegrityError, FormatUnsupported."""
    return told_apart(lambda read: _proven_log(read, signing_public_key), body, WHAT)


def _proven_log(body: bytes, signing_public_key: bytes) -> CondemnLog:
    descriptor, offset, end = signed_part(body, CONDEMNED, CONDEMNED_DOMAIN, signing_public_key, WHAT)
    statement = from_canonical(CondemnStatement, descriptor, f"{WHAT}'s statement")
    if not 0 < statement.packs <= MAX_LOG_PACKS:
        raise IntegrityError(f"{WHAT}: names {statement.packs} packs")
    slots: dict[bytes, SlotSet] = {}
    content, previous = body[:end], b""
    for _ in range(statement.packs):
        pack_id = body[offset : offset + PACK_ID_BYTES]
        if len(pack_id) != PACK_ID_BYTES or pack_id <= previous or offset >= end:
            raise IntegrityError(f"{WHAT}: its packs are not sorted, or it is cut short")
        _, behind = decode_slot_set(content, offset + PACK_ID_BYTES)
        slots[pack_id] = SlotSet(body[offset + PACK_ID_BYTES : behind])
        previous, offset = pack_id, behind
    if offset != end:
        raise IntegrityError(f"{WHAT}: bytes behind its last pack")
    return CondemnLog(statement.lineage_id, statement.seq, statement.epoch, slots)
