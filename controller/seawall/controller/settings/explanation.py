"""What a run says about how its VM is captured: each choice, and who made it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from seawall.controller.records.runs import FreezePolicy
from seawall.controller.settings.words import bytes_text, seconds_text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A value, and by whom: "vm protect", "policy gold", "the default"."""

    value: T
    who: str


@dataclass(frozen=True, slots=True)
class Choices:
    """As in BackupSpec; 0 and () where nobody wanted anything, or somebody wanted none."""

    freeze: Choice[FreezePolicy]
    freeze_limit_ms: Choice[int]
    latency_ceiling_ms: Choice[int]
    bytes_per_second: Choice[int]
    iops: Choice[int]
    exclude_disks: Choice[tuple[str, ...]]
    scratch_quota_bytes: Choice[int]
    compression: Choice[int]


def explained(made: Choices) -> Iterator[str]:
    """A sentence for each thing that can be set."""
    yield f"Freeze of the guest: {_told(made.freeze, made.freeze.value.lower())}{_longest(made)}."
    yield f"Guest latency: {_told(made.latency_ceiling_ms, _ceiling(made.latency_ceiling_ms.value))}."
    yield f"Reading: {_reading(made.bytes_per_second, made.iops)}."
    yield f"Left out: {_told(made.exclude_disks, ', '.join(made.exclude_disks.value) or 'no disk that can be read')}."
    quota = made.scratch_quota_bytes.value
    yield f"Scratch: {_told(made.scratch_quota_bytes, f'at most {bytes_text(quota)}' if quota else 'as its host allows')}."
    level = made.compression.value
    yield f"Compression: {_told(made.compression, f'zstd, level {level}' if level else 'zstd, as fast as it pays')}."


def _told(choice: Choice[T], text: str) -> str:
    return f"{text} ({choice.who})"


def _longest(made: Choices) -> str:
    if made.freeze.value is FreezePolicy.NEVER:
        return ""
    limit_ms = made.freeze_limit_ms.value
    return f", {_told(made.freeze_limit_ms, f'at most {seconds_text(limit_ms)}' if limit_ms else 'at most 10 s')}"


def _ceiling(ceiling_ms: int) -> str:
    if ceiling_ms:
        return f"reading is held back above {ceiling_ms} ms"
    return "reading is held back above twice what the guest's requests take when nothing is read"


def _reading(rate: Choice[int], iops: Choice[int]) -> str:
    limits = [_told(rate, f"at most {bytes_text(rate.value)}/s")] if rate.value else []
    limits += [_told(iops, f"at most {iops.value} requests a second")] if iops.value else []
    if limits:
        return ", ".join(limits)
    return "no limit " + (f"({rate.who})" if rate.who == iops.who else f"({rate.who}; of requests: {iops.who})")
