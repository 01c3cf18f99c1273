"""From what several people said about a VM's capture to what one run does, and from whom each choice came. Pure.

The first who said something decides: the backup command, then `vm protect`, then the policy that fired, then the defaults.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from seawall.controller.records.runs import BackupSpec, FreezePolicy
from seawall.controller.records.settings import NOTHING_SAID, CaptureSettings
from seawall.controller.settings.words import bytes_text, seconds_text

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
    freeze, by_freeze = _first(said, lambda one: one.freeze, FreezePolicy.TRY)
    limit, by_limit = _first(said, lambda one: one.freeze_limit_ms, 0)
    ceiling, by_ceiling = _first(said, lambda one: one.latency_ceiling_ms, 0)
    rate, by_rate = _first(said, lambda one: one.bytes_per_second, 0)
    iops, by_iops = _first(said, lambda one: one.iops, 0)
    nothing: tuple[str, ...] = ()
    excluded, by_excluded = _first(said, lambda one: one.exclude_disks, nothing)
    quota, by_quota = _first(said, lambda one: one.scratch_quota_bytes, 0)
    chosen = [
        f"Freeze of the guest: {freeze.lower()}{_longest(limit, freeze)} ({by_freeze if by_freeze != DEFAULT else by_limit}).",
        f"Guest latency: {_ceiling(ceiling)} ({by_ceiling}).",
        f"Reading: {_reading(rate, iops)} ({by_rate if by_rate != DEFAULT else by_iops}).",
    ]
    if excluded:
        chosen.append(f"Left out: {', '.join(excluded)} ({by_excluded}).")
    if quota:
        chosen.append(f"Scratch: at most {bytes_text(quota)} ({by_quota}).")
    return BackupSpec(
        freeze=freeze,
        exclude_disks=excluded,
        freeze_limit_ms=limit,
        latency_ceiling_ms=ceiling,
        bytes_per_second=rate,
        iops=iops,
        scratch_quota_bytes=quota,
        chosen=tuple(chosen),
    )


def _first(said: Sequence[Said], of: Callable[[CaptureSettings], T | None], default: T) -> tuple[T, str]:
    """The value, and who chose it."""
    for one in said:
        value = of(one.settings)
        if value is not None:
            return value, one.who
    return default, DEFAULT


def _longest(limit_ms: int, freeze: FreezePolicy) -> str:
    return f", at most {seconds_text(limit_ms)}" if limit_ms and freeze is not FreezePolicy.NEVER else ""


def _ceiling(ceiling_ms: int) -> str:
    if ceiling_ms:
        return f"reading is held back above {ceiling_ms} ms"
    return "reading is held back above twice what the guest's requests take when nothing is read"


def _reading(rate: int, iops: int) -> str:
    limits = [f"at most {bytes_text(rate)}/s"] if rate else []
    limits += [f"at most {iops} requests a second"] if iops else []
    return " and ".join(limits) or "no limit"
