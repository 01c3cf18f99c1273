"""VMs that are to be captured at one instant: whether they can be, and what each one's run then says."""

from collections.abc import Sequence
from dataclasses import replace

from seawall.controller.admission.caps import Caps, reserved
from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.records.fleet import Vm
from seawall.controller.records.limits import Measure, Scope, ScopeKey
from seawall.controller.records.runs import BackupSpec, FreezePolicy, Run, RunKind, RunState
from seawall.controller.records.settings import CaptureSettings
from seawall.controller.runs.ready import by_policy_alone

RUNNING = "running"
MOST_VMS = 32
"""All of them are frozen until the last one's job has begun, within the few seconds that a guest may stand."""


def check_size(vms: int, *, different: bool = True) -> None:
    """`different`: none is named twice. Raises InvalidArgument/BAD_GROUP."""
    if not (different and 1 < vms <= MOST_VMS):
        raise InvalidArgument("BAD_GROUP", f"--together needs 2 to {MOST_VMS} different VMs.")


def check_group(vms: Sequence[Vm], command: CaptureSettings) -> CaptureSettings:
    """The command as it holds for a group: the freeze is required.

    Raises InvalidArgument/BAD_GROUP; FailedPrecondition/VM_NOT_RUNNING, NOT_ON_ONE_HOST.
    """
    check_size(len(vms), different=len({vm.id for vm in vms}) == len(vms))
    if command.freeze not in (None, FreezePolicy.REQUIRE):
        raise InvalidArgument("BAD_GROUP", "--together freezes all guests: leave --freeze out.")
    off = [vm.name for vm in vms if vm.state != RUNNING]
    if off:
        raise FailedPrecondition(
            "VM_NOT_RUNNING", f"Not running: {', '.join(off)}. --together freezes the guests of running VMs."
        )
    if len({vm.host_id for vm in vms}) > 1:
        names = ", ".join(vm.name for vm in vms)
        raise FailedPrecondition("NOT_ON_ONE_HOST", f"{names} are not all on one host, as --together needs them.")
    return replace(command, freeze=FreezePolicy.REQUIRE)


def check_room(vms: Sequence[Vm], caps: Caps) -> None:
    """All of a group run at once, or none gets anywhere. Raises FailedPrecondition/NO_ROOM: their host never starts so many backups."""
    host = ScopeKey(Scope.HOST, vms[0].host_id)
    for measure in (Measure.TRANSFERRING, Measure.PREPARING):
        cap = caps.value(host, measure)
        kept = reserved(Scope.HOST, cap) if cap is not None and measure is Measure.TRANSFERRING else 0
        if cap is not None and cap - kept < len(vms):
            raise FailedPrecondition(
                "NO_ROOM",
                f"The VMs' host takes {cap - kept} backups at once, and these are {len(vms)}: "
                f"seawall limit set host --{measure.lower()} {len(vms) + kept} lets all hosts take so many.",
            )


def as_one_of(spec: BackupSpec, group_id: str, vms: Sequence[Vm]) -> BackupSpec:
    """The run's settings as one of the group. `spec`: resolved from what `check_group` returned."""
    names = ", ".join(vm.name for vm in vms)
    chosen = (
        f"At one instant: {names}, all guests frozen until the last one's snapshot has begun (the backup command).",
    )
    ids = tuple(vm.id for vm in vms)
    return replace(spec, group_id=group_id, group=ids, chosen=(*spec.chosen, *chosen))


def refuse_open(vm: Vm, opened: Sequence[Run]) -> None:
    """A backup that is under way has an instant of its own, and so has one that somebody asked for. What a policy made and nobody asked for
    is in nobody's way while it waits: it begins when the group's is over.

    `opened`: the VM's open runs into the repository. Raises FailedPrecondition/RUN_OPEN.
    """
    for run in opened:
        waits = run.state is RunState.READY and by_policy_alone(run)
        if run.kind is RunKind.BACKUP and not waits:
            raise FailedPrecondition(
                "RUN_OPEN", f"{vm.name} is being backed up by run {run.id}; wait for it, or cancel it."
            )
