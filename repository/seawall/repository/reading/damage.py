"""What of a disk cannot be read, and because of which object. Made by `reading.restore`, collected by rescue."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError

LOST = (IntegrityError, ObjectMissing)
"""These bytes will not be had, now or later. A store that refuses or does not answer is no damage."""

_RANGES_SHOWN = 4
_PASSED_OVER_KEPT = 100


@dataclass(frozen=True, slots=True)
class Damage:
    """Ranges of one disk, (offset, length) in bytes, ascending and apart, that one object of the repository keeps from being read."""

    disk: str
    object_name: str
    reason: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        """Bytes."""
        return sum(length for _, length in self.ranges)


class PassedOver:
    """Objects that were found altered where another generation had what was wanted. Nothing is lost, and whoever ordered the reading is
    told: what lies there is no copy any more. Thread-safe; the first hundred.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._lock = Lock()

    def note(self, object_name: str, error: RepositoryError) -> None:
        with self._lock:
            if len(self._reasons) < _PASSED_OVER_KEPT:
                self._reasons.setdefault(object_name, str(error))

    def sentences(self) -> tuple[str, ...]:
        """One an object, by name; each begins with it."""
        with self._lock:
            found = sorted(self._reasons.items())
        return tuple(reason if name in reason else f"{name}: {reason}" for name, reason in found)


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same bytes in as few ranges as possible, ascending."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if found and found[-1][0] + found[-1][1] == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return tuple(found)


def damage_error(point_id: str, damage: Damage, cause: RepositoryError) -> RepositoryError:
    """The error that ends a restore: of the cause's type, with point, disk, bytes and object."""
    ranges = ", ".join(f"byte {offset} to {offset + length - 1}" for offset, length in damage.ranges[:_RANGES_SHOWN])
    if len(damage.ranges) > _RANGES_SHOWN:
        ranges += f" and {len(damage.ranges) - _RANGES_SHOWN} more ranges"
    named = "" if damage.object_name in damage.reason else f"{damage.object_name}: "
    return type(cause)(f"point {point_id}, disk {damage.disk}, {ranges}: {named}{damage.reason}")
