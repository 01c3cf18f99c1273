"""What is told when a policy is applied whose windows ended backups before, or would end them."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.doubts import doubts
from seawall.controller.policies.selection import seen
from support.controller_records import HOUR, a_vm
from support.policies import a_policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VMS = [a_vm(f"vm-{number}", name=f"vm-{number}") for number in range(8)]
WINDOW = "windows: {from: 03:00, to: 04:00}\n"


def told(text: str, took_us: Mapping[str, int], cut_off: Collection[str] = ()) -> list[str]:
    rules = CompiledSpec(a_policy(text).spec)
    return doubts(rules, [seen(vm, {}) for vm in VMS], VMS, took_us, NOW, cut_off)


def test_whose_backups_its_windows_ended_is_told() -> None:
    ended = {vm.id for vm in VMS[1:]}
    assert told(WINDOW + "window_end: cancel", {}, ended) == [
        "Its windows ended the last backups of 7 of its VMs before they were done: vm-1, vm-2, vm-3, vm-4, vm-5 and 2 more. "
        "A longer window, or window_end: no_new_starts, would let them."
    ]
    assert told(WINDOW, {}, ended) == [], "what runs goes on now"
    assert told("", {}, ended) == []


def test_whose_backups_take_longer_than_a_window_leaves_them_is_told() -> None:
    took_us = {"vm-1": HOUR // 2, "vm-2": 3 * HOUR, "vm-3": 90 * HOUR // 60}
    cancel, finish = WINDOW + "window_end: cancel", WINDOW + "window_end: {finish_current: 1h}"
    assert told(cancel, took_us) == [
        "The last backups of 2 of its VMs took longer than the 1h after which its longest window ends a run: vm-2, vm-3."
    ]
    assert told(finish, took_us) == [
        "The last backups of 1 of its VMs took longer than the 2h after which its longest window ends a run: vm-2."
    ]
    assert told(WINDOW, took_us) == []
    (of_all,) = told(cancel, {"vm-2": 3 * HOUR})
    assert of_all.startswith("Its longest window has 1h; the shortest of the last backups")
