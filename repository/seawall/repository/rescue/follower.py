"""Follows the restore of one disk: keeps what the target holds, notes what is written, collects what is lost.

Made by `rescue.restore`.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from seawall.repository.disks import DiskSink
from seawall.repository.errors import RepositoryError
from seawall.repository.format.leaf import PAGE_BYTES, Leaf
from seawall.repository.reading.damage import Damage, damage_error, merged
from seawall.repository.rescue.held_pages import holds_page


class RescueTarget(DiskSink, Protocol):
    """An image file or a block device. Thread-safe but for `finish` and `close`."""

    def read(self, offset: int, length: int) -> bytes:
        """What is there now, fewer bytes only at its end."""

    def finish(self) -> None:
        """Durable, under its final name where it has one."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """`maybe_held`: pages worth reading back. `note_page`: told of each page that is written."""

    point_id: str
    k_dedup: bytes
    keep_going: bool
    maybe_held: Container[int]
    note_page: Callable[[int], None]


class DiskFollower:
    """A PageFollower of one disk."""

    def __init__(self, target: RescueTarget, settings: FollowSettings) -> None:
        self._target = target
        self._settings = settings
        self._lock = Lock()
        self._damages: list[Damage] = []

    @property
    def damages(self) -> list[Damage]:
        """By the first byte; neighbours that the same object costs for the same reason are one."""
        with self._lock:
            return joined(self._damages)

    def holds(self, index: int, leaf: Leaf) -> bool:
        settings = self._settings
        if index not in settings.maybe_held:
            return False
        return holds_page(self._target.read, settings.k_dedup, index * PAGE_BYTES, leaf)

    def page_done(self, index: int) -> None:
        if index not in self._settings.maybe_held:
            self._settings.note_page(index)

    def lost(self, damage: Damage, cause: RepositoryError) -> None:
        if not self._settings.keep_going:
            raise damage_error(self._settings.point_id, damage, cause) from cause
        with self._lock:
            self._damages.append(damage)


def joined(damages: list[Damage]) -> list[Damage]:
    """One Damage for each object and reason. Pure."""
    groups: dict[tuple[str, str], list[Damage]] = {}
    for damage in damages:
        groups.setdefault((damage.object_name, damage.reason), []).append(damage)
    found = [
        Damage(same[0].disk, name, reason, merged(each for damage in same for each in damage.ranges))
        for (name, reason), same in groups.items()
    ]
    return sorted(found, key=lambda damage: damage.ranges)
