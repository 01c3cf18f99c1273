"""Which VMs may be captured at one instant, and what their runs then carry."""

from dataclasses import replace

import pytest

from seawall.controller.admission.caps import Caps
from seawall.controller.errors import ControllerError
from seawall.controller.records.limits import Limit, Measure, Scope
from seawall.controller.records.runs import FreezePolicy
from seawall.controller.records.settings import NOTHING_SAID, CaptureSettings
from seawall.controller.services.grouping import MOST_VMS, as_one_of, check_group, check_room
from seawall.controller.settings.resolve import resolve
from support.controller_records import a_vm

TWO = [a_vm("vm-1", name="db"), a_vm("vm-2", name="web")]


def test_vms_of_one_host_may_be_a_group() -> None:
    for command in (NOTHING_SAID, replace(NOTHING_SAID, freeze=FreezePolicy.REQUIRE)):
        assert check_group(TWO, command).freeze is FreezePolicy.REQUIRE


@pytest.mark.parametrize(
    ("vms", "command", "reason"),
    [
        (TWO[:1], NOTHING_SAID, "BAD_GROUP"),
        ([*TWO, TWO[0]], NOTHING_SAID, "BAD_GROUP"),
        ([a_vm(f"vm-{number}") for number in range(MOST_VMS + 1)], NOTHING_SAID, "BAD_GROUP"),
        (TWO, replace(NOTHING_SAID, freeze=FreezePolicy.TRY), "BAD_GROUP"),
        ([*TWO, a_vm("vm-3", "beta")], NOTHING_SAID, "NOT_ON_ONE_HOST"),
        ([*TWO, a_vm("vm-3", state="shut off")], NOTHING_SAID, "VM_NOT_RUNNING"),
    ],
)
def test_what_is_no_group_is_refused(vms: list, command: CaptureSettings, reason: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ControllerError) as refused:
        check_group(vms, command)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("limits", "fits"),
    [((), 2), ((5,), 4), ((1,), 1), ((9, 3), 3)],
)
def test_a_group_is_no_larger_than_what_its_host_runs_at_once(limits: tuple[int, ...], fits: int) -> None:
    """The built-in 3 and a limit of 5 keep one for restores; the second limit is that of snapshots."""
    measures = (Measure.TRANSFERRING, Measure.PREPARING)
    caps = Caps.of(Limit(Scope.HOST, "", measure, value) for measure, value in zip(measures, limits, strict=False))
    vms = [a_vm(f"vm-{number}") for number in range(fits + 1)]
    check_room(vms[:fits], caps)
    with pytest.raises(ControllerError) as refused:
        check_room(vms, caps)
    assert refused.value.reason == "NO_ROOM"


def test_each_run_knows_its_group_and_freezes_whatever_the_vm_is_set_to() -> None:
    spec = resolve(check_group(TWO, NOTHING_SAID), replace(NOTHING_SAID, freeze=FreezePolicy.NEVER))
    grouped = as_one_of(spec, "g", TWO)
    assert (grouped.freeze, grouped.group_id, grouped.group) == (FreezePolicy.REQUIRE, "g", ("vm-1", "vm-2"))
    assert "db, web" in grouped.chosen[-1] and not any("never" in one for one in grouped.chosen)
