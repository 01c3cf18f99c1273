"""Which settings make sense, and what a change makes of what was said before. Pure."""

from collections.abc import Collection
from dataclasses import fields, replace

from seawall.controller.errors import InvalidArgument
from seawall.controller.records.settings import NO_SETTINGS, CaptureSettings, VmSettings
from seawall.controller.text import sentence
from seawall.repository.crypto.keys import DEFAULT_TENANT
from seawall.repository.format.names import check_tenant

FREEZE_LIMIT_MS = (2000, 10_000)
"""libvirt counts the time of a guest's agent in whole seconds, one for the freeze and one for the thaw: a shorter limit could not be kept.
No guest stands longer than ten seconds, whatever dies.
"""
WHOLE_SECONDS = "; a shorter one could not be kept, as libvirt counts a guest agent's time in whole seconds"
LONGEST_CEILING_MS = 10_000
SLOWEST_BYTES_PER_SECOND = 1_000_000
"""Slower, and a run of any size ends at its deadline."""
MOST_BYTES_PER_SECOND = 1 << 50
SMALLEST_QUOTA_BYTES = 1 << 20
MOST_BYTES = 1 << 60
COMPRESSION_LEVELS = (1, 19)
MOST_DISKS = 256
LONGEST_TARGET = 64
ALL = "all"
NOT_CAPTURE = ("ignored", "tenant")
UNSETTABLE = (*(field.name for field in fields(CaptureSettings)), *NOT_CAPTURE)


def check(settings: CaptureSettings) -> None:
    """Raises InvalidArgument/BAD_SETTING."""
    _within("freeze limit", settings.freeze_limit_ms, *FREEZE_LIMIT_MS, "ms", zero=False, why=WHOLE_SECONDS)
    _within("latency ceiling", settings.latency_ceiling_ms, 1, LONGEST_CEILING_MS, "ms")
    _within("limit", settings.bytes_per_second, SLOWEST_BYTES_PER_SECOND, MOST_BYTES_PER_SECOND, "bytes a second")
    _within("IOPS limit", settings.iops, 1, 1_000_000, "requests a second")
    _within("scratch quota", settings.scratch_quota_bytes, SMALLEST_QUOTA_BYTES, MOST_BYTES, "bytes")
    _within("compression", settings.compression, *COMPRESSION_LEVELS, "(zstd's levels)")
    disks = settings.exclude_disks or ()
    if len(disks) > MOST_DISKS or any(
        not disk or len(disk) > LONGEST_TARGET or not disk.isprintable() for disk in disks
    ):
        raise InvalidArgument("BAD_SETTING", "An excluded disk is named by its target, as `vm show` lists it: vdb.")


def merged(before: VmSettings, said: VmSettings, unset: Collection[str]) -> VmSettings:
    """What is said now replaces what was; what is unset goes first. Raises InvalidArgument/BAD_SETTING."""
    unknown = sorted(set(unset) - {*UNSETTABLE, ALL})
    if unknown:
        known = ", ".join(UNSETTABLE)
        raise InvalidArgument("BAD_SETTING", f"There is no setting {', '.join(unknown)}; there are {known}, {ALL}.")
    check(said.capture)
    _check_tenant(said.tenant)
    if ALL in unset:
        before = NO_SETTINGS
    if "ignored" in unset:
        before = replace(before, ignored=False, ignored_because="")
    if "tenant" in unset:
        before = replace(before, tenant="")
    gone = {name: None for name in unset if name not in (ALL, *NOT_CAPTURE)}
    kept: CaptureSettings = replace(before.capture, **gone)
    new = {field.name: value for field in fields(kept) if (value := getattr(said.capture, field.name)) is not None}
    ignored = (True, said.ignored_because) if said.ignored else (before.ignored, before.ignored_because)
    return VmSettings(replace(kept, **new), *ignored, said.tenant or before.tenant)


def _check_tenant(name: str) -> None:
    try:
        check_tenant(name or DEFAULT_TENANT)
    except ValueError as error:
        raise InvalidArgument("BAD_SETTING", f"{sentence(str(error))}") from error


def _within(
    what: str, value: int | None, least: int, most: int, unit: str, *, zero: bool = True, why: str = ""
) -> None:
    if value is None or (zero and value == 0) or least <= value <= most:
        return
    raise InvalidArgument(
        "BAD_SETTING",
        f"The {what} must lie between {least:,} and {most:,} {unit}, not {value:,}{why if value < least else ''}.",
    )
