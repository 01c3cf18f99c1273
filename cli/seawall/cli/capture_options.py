"""How a VM is captured, as options of `backup` and `vm protect`, and as lines of `vm show`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from seawall.api.v1 import resources_pb2
from seawall.cli.amounts import amount_text, parse_bytes, parse_milliseconds, parse_rate
from seawall.cli.exits import CommandError, Exit
from seawall.cli.numbers import number_option


class Freeze(StrEnum):
    """How hard to try to freeze the guest's file systems."""

    never = "never"
    attempt = "try"
    require = "require"


_FREEZE = {
    Freeze.never: resources_pb2.FREEZE_POLICY_NEVER,
    Freeze.attempt: resources_pb2.FREEZE_POLICY_TRY,
    Freeze.require: resources_pb2.FREEZE_POLICY_REQUIRE,
}

AUTO = "auto"

FreezeOption = Annotated[
    Freeze | None,
    typer.Option(
        help="Freeze the guest's file systems at the instant: never, try (go on without, with a warning), require (or fail)."
    ),
]
FreezeLimitOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="The longest that the guest may be frozen: 2s to 10s.")
]
CeilingOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Hold reading back while the guest's disk requests take longer than this: 20ms; auto is twice what they take in peace.",
    ),
]
LimitOption = Annotated[
    str | None, typer.Option(metavar="RATE", help="Read at most so much a second: 50MB/s, 1GiB/s; none.")
]
IopsOption = Annotated[int | None, number_option(help="Send at most so many read requests a second; 0: no limit.")]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="DISK", help="Leave out this disk (target name); may be repeated. none: leave out nothing."),
]
QuotaOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Scratch holds at most so much of what the guest overwrites meanwhile: 20GiB; none."
    ),
]
CompressionOption = Annotated[
    int | None,
    number_option(
        most=19,
        metavar="LEVEL",
        help="zstd's level, 1 (fast) to 19 (small, slow); 0: as the controller thinks best.",
    ),
]


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """As they were typed; None: not given."""

    freeze: Freeze | None = None
    freeze_limit: str | None = None
    latency_ceiling: str | None = None
    limit: str | None = None
    iops: int | None = None
    exclude_disk: list[str] | None = None
    scratch_quota: str | None = None
    compression: int | None = None

    def message(self) -> resources_pb2.VmSettings:
        """Raises CommandError."""
        said = resources_pb2.VmSettings()
        if self.freeze is not None:
            said.freeze = _FREEZE[self.freeze]
        if self.freeze_limit is not None:
            said.freeze_limit_ms = _amount(
                "--freeze-limit", self.freeze_limit, lambda text: parse_milliseconds(text, ""), "5s"
            )
        if self.latency_ceiling is not None:
            said.latency_ceiling_ms = _amount(
                "--latency-ceiling",
                self.latency_ceiling,
                lambda text: parse_milliseconds(text, AUTO),
                f"20ms, or {AUTO}",
            )
        if self.limit is not None:
            said.bytes_per_second = _amount("--limit", self.limit, parse_rate, "50MB/s, or none")
        if self.iops is not None:
            said.iops = _amount("--iops", str(self.iops), int, "a number below a million")
        if self.exclude_disk:
            disks = [] if self.exclude_disk == ["none"] else self.exclude_disk
            said.exclude_disks.CopyFrom(resources_pb2.DiskList(disks=disks))
        if self.scratch_quota is not None:
            said.scratch_quota_bytes = _amount("--scratch-quota", self.scratch_quota, parse_bytes, "20GiB, or none")
        if self.compression is not None:
            said.compression = self.compression
        return said


def settings_lines(settings: resources_pb2.VmSettings) -> Iterator[tuple[str, str]]:
    """What was said about a VM: name of the option, value."""
    words = {value: policy.value for policy, value in _FREEZE.items()}
    if settings.freeze:
        yield "freeze", words.get(settings.freeze, "unknown")
    if settings.HasField("freeze_limit_ms"):
        yield "freeze-limit", f"{settings.freeze_limit_ms / 1000:g} s"
    if settings.HasField("latency_ceiling_ms"):
        yield "latency-ceiling", f"{settings.latency_ceiling_ms} ms" if settings.latency_ceiling_ms else AUTO
    if settings.HasField("bytes_per_second"):
        yield "limit", f"{amount_text(settings.bytes_per_second)}/s" if settings.bytes_per_second else "none"
    if settings.HasField("iops"):
        yield "iops", str(settings.iops or "none")
    if settings.HasField("exclude_disks"):
        yield "exclude-disk", ", ".join(settings.exclude_disks.disks) or "none"
    if settings.HasField("scratch_quota_bytes"):
        yield "scratch-quota", amount_text(settings.scratch_quota_bytes) if settings.scratch_quota_bytes else "none"
    if settings.HasField("compression"):
        yield "compression", f"level {settings.compression}" if settings.compression else AUTO
    if settings.tenant:
        yield "tenant", settings.tenant
    if settings.ignored:
        yield "ignored", settings.ignored_because or "yes"


def _amount(option: str, text: str, parse: Callable[[str], int], example: str) -> int:
    try:
        amount = parse(text)
        if amount < (1 << 32) or option in ("--limit", "--scratch-quota"):
            return amount
    except ValueError:
        pass
    raise CommandError(Exit.USAGE, "BAD_AMOUNT", f"{option} {text!r} is not understood; say for example {example}.")
