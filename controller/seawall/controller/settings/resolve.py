"""From what several people said about a VM's capture to what one run does, and from whom each choice came. Pure.

The first who said something decides: the backup command, then `vm protect`, then the policy that fired, then the defaults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from seawall.controller.records.runs import BackupSpec, FreezePolicy
from seawall.controller.records.settings import NOTHING_SAID, CaptureSettings
from seawall.controller.settings.explanation import Choice, Choices, explained

T = TypeVar("T")

COMMAND = "the backup command"
VM = "vm protect"
DEFAULT = "the default"


@dataclass(frozen=True, slots=True)
class Said:
    """One who may decide. `who`: as the operator reads it ("policy gold")."""

    who: str
    settings: CaptureSettings


def resolve(
    command: CaptureSettings, vm: CaptureSettings, policy: CaptureSettings = NOTHING_SAID, policy_name: str = ""
) -> BackupSpec:
    """What a run is made with. It rides in the run, so that no attempt changes its mind."""
    said = [Said(COMMAND, command), Said(VM, vm), Said(f"policy {policy_name}", policy)]
    nothing: tuple[str, ...] = ()
    made = Choices(
        freeze=_first(said, lambda one: one.freeze, FreezePolicy.TRY),
        freeze_limit_ms=_first(said, lambda one: one.freeze_limit_ms, 0),
        latency_ceiling_ms=_first(said, lambda one: one.latency_ceiling_ms, 0),
        bytes_per_second=_first(said, lambda one: one.bytes_per_second, 0),
        iops=_first(said, lambda one: one.iops, 0),
        exclude_disks=_first(said, lambda one: one.exclude_disks, nothing),
        scratch_quota_bytes=_first(said, lambda one: one.scratch_quota_bytes, 0),
        compression=_first(said, lambda one: one.compression, 0),
    )
    values: dict[str, Any] = {field.name: getattr(made, field.name).value for field in fields(made)}
    return BackupSpec(**values, chosen=tuple(explained(made)))


def excluded_disks(vm: CaptureSettings, policy: CaptureSettings) -> tuple[str, ...]:
    """What a run of a policy leaves out, as `resolve` has it: for whoever asks that of thousands of VMs."""
    return next((each for each in (vm.exclude_disks, policy.exclude_disks) if each is not None), ())


def _first(said: Sequence[Said], of: Callable[[CaptureSettings], T | None], default: T) -> Choice[T]:
    for one in said:
        value = of(one.settings)
        if value is not None:
            return Choice(value, one.who)
    return Choice(default, DEFAULT)
