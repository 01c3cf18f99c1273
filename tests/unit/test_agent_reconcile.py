"""The supervisor's decisions: exhaustive over small worlds, and the rules one by one."""

from itertools import product

import pytest

from seawall.agent.control.messages import Assignment, AttemptRef
from seawall.agent.supervisor.reconcile import (
    Local,
    Phase,
    ReportCanceled,
    ReportUnknownKind,
    Start,
    StopWorker,
    reconcile,
    stop_reported,
)
from seawall.agent.worker.pipe import StopReason


def wanted(attempt_id: str, vm_id: str = "vm", *, cancel: bool = False, kind: str = "backup") -> Assignment:
    return Assignment(AttemptRef(attempt_id, 1, 1), kind, "run", vm_id, "name", cancel)


def worker(attempt_id: str, vm_id: str = "vm", phase: Phase = Phase.RUNNING, reason: StopReason | None = None) -> Local:
    return Local(attempt_id, vm_id, phase, reason)


def test_what_is_wanted_and_not_there_is_started_once() -> None:
    a = wanted("a")
    assert reconcile([a], {}, set()) == (Start(a),)
    assert reconcile([a], {"a": worker("a")}, set()) == ()
    assert reconcile([a], {}, {"a"}) == ()


def test_a_vm_has_one_worker_and_the_newer_attempt_waits() -> None:
    b = wanted("b")
    old = {"a": worker("a", phase=Phase.STOPPING, reason=StopReason.FENCED)}
    assert reconcile([b], old, set()) == ()
    assert reconcile([b], {}, {"a"}) == (Start(b),)
    assert reconcile([wanted("a"), b], {}, set()) == (Start(wanted("a")),)


def test_other_vms_do_not_wait() -> None:
    b = wanted("b", "other")
    assert reconcile([wanted("a"), b], {"a": worker("a")}, set()) == (Start(b),)


def test_what_is_not_wanted_is_fenced_and_a_cancel_turns_into_a_fence() -> None:
    stop = StopWorker("a", StopReason.FENCED)
    assert reconcile([], {"a": worker("a")}, set()) == (stop,)
    assert reconcile([], {"a": worker("a", phase=Phase.STOPPING, reason=StopReason.CANCELED)}, set()) == (stop,)
    assert reconcile([], {"a": worker("a", phase=Phase.STOPPING, reason=StopReason.FENCED)}, set()) == ()


def test_a_worker_that_has_handed_in_is_left_alone() -> None:
    local = {"a": worker("a", phase=Phase.SETTLING)}
    assert reconcile([], local, set()) == ()
    assert reconcile([wanted("a", cancel=True)], local, set()) == ()
    assert stop_reported(["a"], [], local) == ()


def test_cancel_is_asked_for_once() -> None:
    a = wanted("a", cancel=True)
    assert reconcile([a], {"a": worker("a")}, set()) == (StopWorker("a", StopReason.CANCELED),)
    assert reconcile([a], {"a": worker("a", phase=Phase.STOPPING, reason=StopReason.CANCELED)}, set()) == ()
    assert reconcile([a], {}, set()) == (ReportCanceled(a),)


def test_an_unknown_kind_is_reported_and_not_started() -> None:
    a = wanted("a", kind="")
    assert reconcile([a], {}, set()) == (ReportUnknownKind(a),)


def test_a_heartbeat_stops_what_it_names_and_unknown_outweighs_canceled() -> None:
    local = {"a": worker("a"), "b": worker("b", "other")}
    assert stop_reported(["a"], ["a", "b"], local) == (
        StopWorker("a", StopReason.FENCED),
        StopWorker("b", StopReason.CANCELED),
    )
    assert stop_reported(["gone"], ["gone too"], local) == ()


DESIRED = [None, "plain", "canceled"]
LOCAL: list[tuple[Phase, StopReason | None] | None] = [
    None,
    (Phase.RUNNING, None),
    (Phase.STOPPING, StopReason.CANCELED),
    (Phase.STOPPING, StopReason.FENCED),
    (Phase.SETTLING, None),
]


@pytest.mark.parametrize("same_vm", [True, False])
def test_every_small_world_keeps_the_rules(same_vm: bool) -> None:
    """Two attempts, each wanted or not, local or not, ended or not: 900 worlds."""
    states = list(product(DESIRED, LOCAL, [True, False]))
    for first, second in product(states, states):
        desired, local, ended, vms = [], {}, set(), {"a": "vm", "b": "vm" if same_vm else "other"}
        for attempt_id, (want, there, over) in (("a", first), ("b", second)):
            if want:
                desired.append(wanted(attempt_id, vms[attempt_id], cancel=want == "canceled"))
            if there:
                local[attempt_id] = worker(attempt_id, vms[attempt_id], *there)
            if over and not there:
                ended.add(attempt_id)
        check_rules(desired, local, ended)


def check_rules(desired: list[Assignment], local: dict[str, Local], ended: set[str]) -> None:
    instructions = reconcile(desired, local, ended)
    starts = [item.assignment for item in instructions if isinstance(item, Start)]
    stops = {item.attempt_id: item.reason for item in instructions if isinstance(item, StopWorker)}
    busy = [item.vm_id for item in local.values()] + [item.vm_id for item in starts]
    assert all(busy.count(start.vm_id) == 1 for start in starts)
    assert all(not s.cancel and s.ref.attempt_id not in ended and s.ref.attempt_id not in local for s in starts)
    assert all(local[attempt_id].phase is not Phase.SETTLING for attempt_id in stops)
    names = {item.ref.attempt_id for item in desired if not item.cancel}
    assert all(attempt_id not in names for attempt_id in stops)
    for attempt_id, there in local.items():
        if there.phase is Phase.RUNNING:
            assert (attempt_id in stops) == (attempt_id not in names)


def test_instructions_carried_out_lead_to_rest() -> None:
    """A world in which each instruction is done at once needs no further instructions."""
    for want_a, want_b in product(DESIRED, DESIRED):
        desired = [
            wanted(attempt_id, cancel=want == "canceled") for attempt_id, want in (("a", want_a), ("b", want_b)) if want
        ]
        local: dict[str, Local] = {"a": worker("a")}
        ended: set[str] = set()
        for _ in range(4):
            for item in reconcile(desired, local, ended):
                if isinstance(item, Start):
                    local[item.assignment.ref.attempt_id] = worker(item.assignment.ref.attempt_id)
                elif isinstance(item, StopWorker):
                    del local[item.attempt_id]
                    ended.add(item.attempt_id)
                else:
                    ended.add(item.assignment.ref.attempt_id)
        assert reconcile(desired, local, ended) == ()
