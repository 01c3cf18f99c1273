"""What was seen of a round, before anybody judges it. Frozen values; times are seconds of one monotonic clock, lengths bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interval:
    """From when until when something was so."""

    began: float
    ended: float

    def overlap(self, other: "Interval") -> float:
        """Seconds that both have in common."""
        return max(0.0, min(self.ended, other.ended) - max(self.began, other.began))


@dataclass(frozen=True)
class DiskVerdict:
    """What the guest's program says of a restored disk. `wrong_bytes` from offset `first` on; `done` operations of the disk, of which the
    newest is the guest's number `count`, when its other disks had done `peers`."""

    wrong_bytes: int
    first: int
    disk_id: str
    done: int
    count: int
    length_bytes: int
    peers: Mapping[str, int]


@dataclass(frozen=True)
class Known:
    """What was known of a VM when a backup of it was asked for: its disks (target -> id), how long each may be (id -> lengths), and how
    many operations its guest had told of (id -> operations): those are in the point."""

    disks: Mapping[str, str]
    lengths: Mapping[str, frozenset[int]]
    done: Mapping[str, int]


@dataclass(frozen=True)
class PointLook:
    """A restored point: the verdict of each of its disks by target. `doubted`: disks whose bitmap the backup found to be wrong."""

    point_id: str
    vm: str
    known: Known
    disks: Mapping[str, DiskVerdict]
    how: str = ""
    doubted: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConsoleLine:
    """A line that a guest said, and when it was read here."""

    at: float
    text: str


@dataclass(frozen=True)
class GuestLook:
    """What a guest said in the round. `absent`: its QEMU was off, stopped, slowed or paused. `deaf`: nobody could reach it to thaw it, as
    libvirtd stood still. `ended`: when the look ended."""

    name: str
    lines: tuple[ConsoleLine, ...]
    absent: tuple[Interval, ...]
    deaf: tuple[Interval, ...]
    ended: float


@dataclass(frozen=True)
class RunLook:
    """A run that was asked for: what it should do, its state, and its failure ({} for none)."""

    run_id: str
    what: str
    state: str
    failure: Mapping[str, Any] = field(default_factory=dict)
    point_id: str = ""
    deleted: bool = False

    @property
    def succeeded(self) -> bool:
        return self.state in ("succeeded", "succeeded_with_warnings")


@dataclass(frozen=True)
class Evidence:
    """Of one round. `points_there`: ids of the points of its VMs that the controller lists. `trouble`: what could not be done at all."""

    seed: str
    points: tuple[PointLook, ...]
    guests: tuple[GuestLook, ...]
    runs: tuple[RunLook, ...]
    points_there: frozenset[str]
    leftovers: tuple[str, ...]
    trouble: tuple[str, ...] = ()
