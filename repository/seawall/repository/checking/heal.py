"""Good packs from a copy of the repository: the copy's bytes are proven chunk by chunk, then written as the pack's next generation. Then
manifests and refmaps (`heal_points`).

Called by the maintenance worker. Repeatable: a pack is healed when its new generation was read back and the ledger took it; one that a
crash left without that is an object that nobody names, and collection removes it. What was altered goes last: readers pass it over until
then.
"""

from dataclasses import dataclass

from seawall.repository.checking.check import tell_points
from seawall.repository.checking.finding import Finding, Findings, Reason
from seawall.repository.checking.heal_points import heal_points
from seawall.repository.checking.older import altered_older
from seawall.repository.checking.pack import opener_of, read_pack, verify_pack
from seawall.repository.checking.port import Ledger, PackFacts, Progress
from seawall.repository.checking.verdict import Opener, judge
from seawall.repository.collecting.announce import require_newest
from seawall.repository.errors import ForeignRepository, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.format.pack import pack_id_of
from seawall.repository.generations import stored_generations
from seawall.repository.repository import OpenRepository, read_config
from seawall.repository.store.port import Store

_UNREADABLE = (ObjectMissing, IntegrityError, StoreRefused)


@dataclass(frozen=True, slots=True)
class HealResult:
    healed_packs: int
    healed_slots: int
    """That were bad."""
    bytes: int
    """Written."""
    healed_manifests: int
    healed_refmaps: int
    still_bad_packs: int
    damaged_points: int
    findings_total: int
    findings: tuple[Finding, ...]


def require_copy(repository: OpenRepository, copy: Store) -> None:
    """Raises ForeignRepository (another repository, or another key signed it), ObjectMissing (none there), StoreUnavailable."""
    config = read_config(copy, repository.config.signing_public_key)
    if config.lineage_id != repository.config.lineage_id:
        raise ForeignRepository(f"{copy.url}: holds another repository, not a copy of {repository.store.url}")


def heal(repository: OpenRepository, ledger: Ledger, copy: Store) -> HealResult:
    """Raises as `require_copy` does, StoreUnavailable, BucketMissing, StoreFull, and what the ledger raises."""
    require_copy(repository, copy)
    findings = Findings()
    damaged = ledger.damaged_packs()
    healed = slots = written = 0
    for done, pack in enumerate(damaged):
        ledger.may_continue()
        ledger.progress(
            Progress("healing", packs_done=done, packs_total=len(damaged), bytes_done=written, findings=len(findings))
        )
        length = _heal_pack(repository, ledger, copy, pack, findings)
        if length:
            healed, slots, written = healed + 1, slots + len(pack.bad), written + length
    _remove_altered_older(repository, ledger, findings)
    brought_back = heal_points(repository, ledger, copy, findings)
    points = tell_points(repository, ledger, findings)
    return HealResult(
        healed_packs=healed,
        healed_slots=slots,
        bytes=written,
        healed_manifests=brought_back.manifests,
        healed_refmaps=brought_back.refmaps,
        still_bad_packs=len(ledger.damaged_packs()),
        damaged_points=points,
        findings_total=len(findings),
        findings=findings.listed(),
    )


def _heal_pack(repository: OpenRepository, ledger: Ledger, copy: Store, pack: PackFacts, findings: Findings) -> int:
    """Bytes written; 0: not healed, and why is a finding, or the pack is not what it was."""
    opener = opener_of(repository, pack.tenant)
    now = verify_pack(repository.store, pack, opener)
    if now.undecided:
        findings.add(now.reason or Reason.OBJECT_UNREADABLE, now.object_name, now.sentence)
        return 0
    # Somebody put the object back; its hash proves which pack it is.
    if now.reason is None and pack.bytes_hash is not None:
        ledger.proven(pack)
        return 0
    body = _good_body(copy, pack, opener, findings)
    if body is None:
        return 0
    first = ledger.reserve(pack, max(stored_generations(repository.store, pack.tenant, pack.id), default=0))
    if first is None:
        return 0
    names = [pack_name(pack.tenant, pack.id, first + at) for at in range(len(pack.generations))]
    for name in names:
        repository.store.put(name, body, create_only=True)
    for name in names:
        if repository.store.get(name) != body:
            raise IntegrityError(f"{name}: read back, it is not what was written a moment ago")
    if not ledger.healed(pack, first, len(body), pack_id_of(body) if _is_known(body, pack) else b""):
        return 0
    _remove_damaged(repository.store, ledger, pack, findings)
    return len(body) * len(names)


def _remove_damaged(store: Store, ledger: Ledger, pack: PackFacts, findings: Findings) -> None:
    """So that who names the old generation finds it gone, and looks for the new one. What the store keeps, readers pass over."""
    require_newest(store, ledger.leader())
    for generation in pack.generations:
        _remove(store, pack_name(pack.tenant, pack.id, generation), findings)


def _remove_altered_older(repository: OpenRepository, ledger: Ledger, findings: Findings) -> None:
    """Left by a healing that died, or altered later. An altered one may hold what the later one has lost: then it stays."""
    for one in altered_older(repository, ledger, lambda _: True):
        if verify_pack(repository.store, one.pack, opener_of(repository, one.pack.tenant)).reason is None:
            require_newest(repository.store, ledger.leader())
            _remove(repository.store, one.object_name, findings)


def _remove(store: Store, name: str, findings: Findings) -> None:
    try:
        store.delete(name)
    except StoreRefused as error:
        sentence = f"it is altered, and the store does not let go of it: {error}"
        findings.add(Reason.OLDER_ALTERED, name, sentence)


def _good_body(copy: Store, pack: PackFacts, opener: Opener, findings: Findings) -> bytes | None:
    """The newest generation in the copy that is whole and holds all that this pack must hold."""
    tried = []
    for generation in stored_generations(copy, pack.tenant, pack.id):
        name = pack_name(pack.tenant, pack.id, generation)
        try:
            body = read_pack(copy, name)
        except _UNREADABLE as error:
            tried.append(f"{name}: {error}")
            continue
        verdict = judge(body, None, pack.meta, opener)
        lacking = pack.expected - verdict.proven
        if verdict.reason is None and not len(lacking) and _is_this_pack(body, pack, generation):
            return body
        tried.append(f"{name}: {verdict.sentence or f'it lacks {len(lacking)} chunks, or is another pack'}")
    name = pack_name(pack.tenant, pack.id, pack.generation)
    if tried:
        findings.add(Reason.COPY_NOT_BETTER, name, f"no better in the copy: {'; '.join(tried)}")
    else:
        findings.add(Reason.NOT_IN_COPY, name, "the copy does not hold this pack")
    return None


def _is_this_pack(body: bytes, pack: PackFacts, generation: int) -> bool:
    """The writer's own generations hash to the pack's id. What another later one belongs to, only its place in the copy says."""
    return _is_known(body, pack) or generation > int(pack.meta)


def _is_known(body: bytes, pack: PackFacts) -> bool:
    """Whether these bytes are the pack's, as written or as it counts at present."""
    return pack_id_of(body) in (pack.id, pack.bytes_hash)
