"""What a repository holds, from the bucket alone: every committed point, whole or damaged. Called by `rescue list` and `restore`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from seawall.repository.errors import (
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RepositoryError,
    StoreRefused,
    WrongKey,
)
from seawall.repository.format.layout import PointName, manifest_name
from seawall.repository.rescue.errors import PointAmbiguous, PointUnknown
from seawall.repository.rescue.opening import RescueRepository
from seawall.repository.rescue.point_names import PointNames, point_names, void_points

_READS_IN_FLIGHT = 8
_SHOWN = 5
_ID_DIGITS = 8
"""Fewer are taken for a name."""
_OF_ONE_POINT = (IntegrityError, ObjectMissing, FormatUnsupported, StoreRefused, WrongKey)
"""What one manifest can meet that says nothing of the others."""


@dataclass(frozen=True, slots=True)
class DiskSummary:
    """One disk of a point."""

    disk: str
    size_bytes: int
    format: str
    how: str


@dataclass(frozen=True, slots=True)
class PointSummary:
    """A point that is signed and opens; its chunks were not looked at."""

    name: PointName
    vm_name: str
    parent_point_id: str
    instant_us: int
    published_us: int
    guest_frozen: bool
    disks: tuple[DiskSummary, ...]
    members: tuple[str, ...]
    warnings: tuple[tuple[str, str], ...]

    @property
    def size_bytes(self) -> int:
        return sum(disk.size_bytes for disk in self.disks)


@dataclass(frozen=True, slots=True)
class DamagedPoint:
    """A committed point that cannot be restored, because of `object_name`."""

    name: PointName
    object_name: str
    error: str
    vm_name: str = ""
    """From another point of the VM; "" when there is none that opens."""


@dataclass(frozen=True, slots=True)
class VmSummary:
    """One VM, by its newest point."""

    tenant: str
    vm_id: str
    vm_name: str
    points: int
    damaged: int
    newest: PointSummary | None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`points`: newest first, damaged ones last. `strange`: names among the manifests that Seawall never wrote.

    `forgotten`: points with a tombstone whose manifest still lies there; among the others where tombstones are ignored.
    `void`: points that a controller wrote after it had been replaced; among the others where they are included. `disregarded`: points whose
    tombstone such a controller wrote: they are shown, as it does not count.
    """

    points: tuple[PointSummary, ...]
    damaged: tuple[DamagedPoint, ...]
    strange: tuple[str, ...]
    forgotten: tuple[PointName, ...] = ()
    void: tuple[PointName, ...] = ()
    disregarded: tuple[PointName, ...] = ()

    def vms(self) -> list[VmSummary]:
        """By name and id."""
        groups: dict[tuple[str, str], list[PointSummary]] = {}
        lost: dict[tuple[str, str], list[DamagedPoint]] = {}
        for point in self.points:
            groups.setdefault((point.name.tenant, point.name.vm_id), []).append(point)
        for broken in self.damaged:
            lost.setdefault((broken.name.tenant, broken.name.vm_id), []).append(broken)
        return sorted(
            (_vm_summary(key, groups.get(key, []), lost.get(key, [])) for key in groups.keys() | lost.keys()),
            key=lambda vm: (vm.vm_name, vm.vm_id),
        )


def read_catalogue(rescue: RescueRepository, *, vm: str = "", tenant: str = "") -> Catalogue:
    """Every point, or those of one VM (its name, or its id or the first digits of it) and tenant.

    Raises PointUnknown when no point fits the wish; StoreUnavailable, BucketMissing.
    """
    lying = point_names(rescue)
    names, void = _taken(rescue, lying, lambda name: not tenant or name.tenant == tenant)
    if tenant and not names and not void:
        raise PointUnknown(f"{rescue.url} has no point of a tenant {tenant!r}. Without --tenant, `list` shows all.")
    by_id = {name.vm_id for name in names if len(vm) >= _ID_DIGITS and name.vm_id.startswith(vm.lower())}
    looked_at = [name for name in names if name.vm_id in by_id] if vm in by_id else names
    with ThreadPoolExecutor(_READS_IN_FLIGHT, thread_name_prefix="rescue-list") as pool:
        read = list(pool.map(lambda name: _summary(rescue, name), looked_at))
    points = [one for one in read if isinstance(one, PointSummary)]
    wanted = {point.name.vm_id for point in points if point.vm_name == vm} or by_id
    if vm and not wanted:
        raise PointUnknown(f"{rescue.url} has no point of a VM {vm!r}. `seawall rescue … list` shows all.")
    vm_names = {point.name.vm_id: point.vm_name for point in sorted(points, key=lambda point: point.instant_us)}
    chosen = [one for one in read if not vm or one.name.vm_id in wanted]
    whole = [one for one in chosen if isinstance(one, PointSummary)]
    damaged = [
        replace(one, vm_name=vm_names.get(one.name.vm_id, "")) for one in chosen if isinstance(one, DamagedPoint)
    ]
    whole.sort(key=lambda point: (-point.instant_us, point.name))
    return Catalogue(tuple(whole), tuple(damaged), lying.strange, lying.forgotten, void, lying.disregarded)


def find_point(rescue: RescueRepository, wish: str, *, tenant: str = "") -> PointName:
    """The point with this id, or the only one that begins so. Raises PointUnknown, PointAmbiguous, StoreUnavailable."""
    lying = point_names(rescue)
    wanted = wish.strip().lower()
    found, void = _taken(
        rescue,
        lying,
        lambda name: name.point_id.startswith(wanted) and (not tenant or name.tenant == tenant),
    )
    if wanted and void and not found:
        raise PointUnknown(
            f"The point {wish!r} was written by a controller that had been replaced, and nobody was told that it exists; "
            "what of it can be read shows with --include-void."
        )
    if wanted and not found and any(name.point_id.startswith(wanted) for name in lying.forgotten):
        raise PointUnknown(f"The point {wish!r} was deleted; what is left of it shows with --ignore-tombstones.")
    if not wanted or not found:
        raise PointUnknown(f"{rescue.url} has no point {wish!r}. `seawall rescue … list` shows those that there are.")
    if len({name.point_id for name in found}) == 1 < len(found):
        # A copy of a manifest under another name opens nowhere, and must not hide the point.
        found = [name for name in found if isinstance(_summary(rescue, name), PointSummary)] or found
        if len(found) > 1:
            places = ", ".join(f"{name.tenant}/{name.vm_id}" for name in found[:_SHOWN])
            raise PointAmbiguous(f"Several points have the id {wish!r}: {places}. Choose one with --tenant.")
    if len(found) > 1:
        shown = ", ".join(name.point_id for name in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise PointAmbiguous(f"{len(found)} points begin with {wish!r}: {shown}{more}. Give more digits.")
    return found[0]


def _taken(
    rescue: RescueRepository, lying: PointNames, wanted: Callable[[PointName], bool]
) -> tuple[list[PointName], tuple[PointName, ...]]:
    """(Those to take of the wanted points, the void ones of them). A deleted point that was brought back is not called void too."""
    names = [name for name in lying.lying if wanted(name)]
    void = void_points(rescue, names) - {*lying.forgotten}
    taken = names if rescue.include_void else [name for name in names if name not in void]
    return taken, tuple(sorted(void))


def _summary(rescue: RescueRepository, name: PointName) -> PointSummary | DamagedPoint:
    try:
        point = rescue.point(name)
    except _OF_ONE_POINT as error:
        return DamagedPoint(name, _object_of(name, error), str(error))
    root = point.root
    return PointSummary(
        name=name,
        vm_name=root.vm_name,
        parent_point_id=root.parent_point_id,
        instant_us=root.instant_us,
        published_us=point.statement.published_us,
        guest_frozen=root.guest_frozen,
        disks=tuple(DiskSummary(disk.disk, disk.size_bytes, disk.format, disk.how) for disk in root.disks),
        members=tuple(member.name for member in root.members),
        warnings=root.warnings,
    )


def _object_of(name: PointName, error: RepositoryError) -> str:
    """The keys of an epoch are named first by what they raise; all else is the manifest's own."""
    first = str(error).partition(":")[0]
    return first if first.startswith("v1/keys/") else manifest_name(name.tenant, name.vm_id, name.point_id)


def _vm_summary(key: tuple[str, str], points: list[PointSummary], damaged: list[DamagedPoint]) -> VmSummary:
    newest = max(points, key=lambda point: point.instant_us, default=None)
    names = [newest.vm_name] if newest else [broken.vm_name for broken in damaged]
    return VmSummary(*key, names[0], len(points) + len(damaged), len(damaged), newest)
