"""Rules dropped from the controller's real code, one at a time, by patching a named seam; each must be found within a few seeds."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from seawall.controller.admission import scopes
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.gates import Gate
from seawall.controller.admission.mirror import FleetMirror
from seawall.controller.database.leadership import NAME, LeadershipRows
from seawall.controller.database.policies import PolicyRows
from seawall.controller.database.tables import leader
from seawall.controller.publishing.promotion import Promotion
from seawall.controller.records.limits import Measure, Scope, ScopeKey
from seawall.controller.records.runs import AttemptState
from seawall.controller.scheduler import firing
from seawall.controller.scheduler.firing import Firing
from seawall.controller.scheduler.tick import Tick
from seawall.repository.format.layout import MANIFESTS_PREFIX

MOST_SEEDS = 20
_FEW = 6


@dataclass(frozen=True)
class Mutant:
    """`often`: kinds of faults that are more frequent while it is looked for."""

    rule: str
    patch: Callable[[], AbstractContextManager[Any]]
    often: tuple[str, ...] = ()


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _not_fenced() -> AbstractContextManager[Any]:
    stack = ExitStack()
    machine, publisher = "seawall.controller.runs.machine", "seawall.controller.publishing.publisher"
    for place in (f"{machine}.fence", f"{machine}.handing_in", f"{publisher}.handing_in"):
        stack.enter_context(patch(place, _nothing))
    stack.enter_context(patch("seawall.controller.services.transfers.fence", _nothing))
    return stack


def _lost_frees() -> AbstractContextManager[Any]:
    real = FleetMirror._occupied

    def occupied(mirror: FleetMirror, transaction: Any, attempts: Any) -> Any:
        return real(mirror, transaction, [each for each in attempts if each.state is not AttemptState.LOST])

    return patch.object(FleetMirror, "_occupied", occupied)


def _one_more() -> AbstractContextManager[Any]:
    def is_full(gate: Gate, restore: bool) -> bool:
        return gate.used + gate.held + (0 if restore else gate.reserve) > gate.cap

    return patch.object(Gate, "is_full", is_full)


def _preparing_is_free() -> AbstractContextManager[Any]:
    def counted(facts: FleetFacts) -> Counter[tuple[ScopeKey, Measure]]:
        return Counter({key: used for key, used in scopes.counted(facts).items() if key[1] is not Measure.PREPARING})

    return patch("seawall.controller.admission.gates.counted", counted)


def _storages_are_boundless() -> AbstractContextManager[Any]:
    def scopes_of(*given: Any, **named: Any) -> list[ScopeKey]:
        return [where for where in scopes.scopes_of(*given, **named) if where.scope is not Scope.STORAGE]

    return patch("seawall.controller.admission.gates.scopes_of", scopes_of)


def _all_to_each() -> AbstractContextManager[Any]:
    def shares(leaves: Any, budget: int | None, site_budgets: Any, floor: int) -> dict[str, int | None]:
        return {leaf.key: site_budgets.get(leaf.site, budget) for leaf in leaves}

    return patch("seawall.controller.admission.shares.shares", shares)


def _forgets_firings() -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(patch.object(PolicyRows, "fired", lambda *_: frozenset()))
    stack.enter_context(patch.object(PolicyRows, "mark_fired", _nothing))
    return stack


def _every_seventh_is_left_out() -> AbstractContextManager[Any]:
    real = firing._in_turn

    def in_turn(*given: Any) -> list[str]:
        return [vm_id for place, vm_id in enumerate(real(*given), 1) if place % 7]

    return patch.object(firing, "_in_turn", in_turn)


def _a_slice_is_forgotten() -> AbstractContextManager[Any]:
    """The last one, where there are several."""
    real = Firing._slice
    stack = ExitStack()

    async def some(this: Firing, due: Any, *given: Any) -> None:
        if len(due.vm_ids) == _FEW:
            await real(this, due, *given)

    stack.enter_context(patch.object(firing, "SLICE", _FEW))
    stack.enter_context(patch.object(Firing, "_slice", some))
    return stack


async def _later(*_: Any) -> None:
    """Never."""


def _no_guard() -> AbstractContextManager[Any]:
    """Whoever led once takes the leader's row for its own: neither holder nor epoch is compared."""
    return patch.object(LeadershipRows, "_held", lambda rows, held: (leader.c.name == NAME,))


def _no_manifest() -> AbstractContextManager[Any]:
    real = Promotion._put

    def put(promotion: Promotion, repository: Any, name: str, body: bytes) -> None:
        if not name.startswith(MANIFESTS_PREFIX):
            real(promotion, repository, name, body)

    return patch.object(Promotion, "_put", put)


MUTANTS = (
    Mutant("a hand-in is not fenced", _not_fenced, ("_late_hand_in",)),
    Mutant("LOST frees its slot at once", _lost_frees, ("_lose_busy_host",)),
    Mutant(
        "what expires after a start has no grace",
        lambda: patch.object(Tick, "_starting", lambda tick, now_us: False),
        ("_kill_controller", "_stop_controller"),
    ),
    Mutant("limits are off by one", _one_more),
    Mutant("what prepares is not counted", _preparing_is_free),
    Mutant("a storage's limit is not looked at", _storages_are_boundless),
    Mutant("each host gets the whole budget", _all_to_each, ("set_budget",)),
    Mutant("a firing is not remembered", _forgets_firings),
    Mutant("every seventh VM of a firing is left out", _every_seventh_is_left_out),
    Mutant("the last slice of a firing is forgotten", _a_slice_is_forgotten),
    Mutant("what is due is not fired", lambda: patch.object(Firing, "_look", _later)),
    Mutant(
        "who waited for another run is forgotten",
        lambda: patch.object(Firing, "_carry_on", _later),
        ("_order_what_is_due",),
    ),
    Mutant("a leader's writes are not guarded", _no_guard, ("_outlive_leader",)),
    Mutant("a point is available without its manifest", _no_manifest),
    Mutant("holds are not looked at", lambda: patch.object(PolicyRows, "holds_of", lambda *_: {}), ("delete_held",)),
    Mutant(
        "a tombstone ends no run of an older database",
        lambda: patch("seawall.controller.forgetting.replay._end_run", _nothing),
        ("_lose_a_deletion",),
    ),
    Mutant(
        "what was validated on an older database is not looked at again",
        lambda: patch("seawall.controller.publishing.promotion.packs_that_lost", lambda *_: 0),
        ("_lose_a_collection",),
    ),
    Mutant(
        "a roll-back brings no points back",
        lambda: patch("seawall.controller.repositories.replay.unknown_points", lambda *_: []),
        ("_copy_database", "_roll_back"),
    ),
)
