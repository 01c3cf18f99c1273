"""What a rescue of one point would do: looked at and decided before a byte is written.

Printed by `rescue restore --plan`, used once by `rescue.restore`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seawall.repository.errors import RepositoryError
from seawall.repository.format.node import PAGES_PER_NODE
from seawall.repository.format.root import NODE_BYTES, DiskManifest
from seawall.repository.reading.damage import LOST
from seawall.repository.reading.point import page_length
from seawall.repository.rescue.device import device_size
from seawall.repository.rescue.errors import TargetExists, TargetUnfit
from seawall.repository.rescue.file_names import HOW_TO, chosen_disks, image_names, member_names
from seawall.repository.rescue.files import DAMAGED, TargetFolder, open_folder
from seawall.repository.rescue.how_to import how_to_text
from seawall.repository.rescue.image_file import Found, ImageState, look_at_image
from seawall.repository.rescue.journal import ImageIdentity
from seawall.repository.rescue.opening import RescuePoint


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One disk to one image file. `at_most_bytes`: of the pages that hold anything; the file will take no more."""

    manifest: DiskManifest
    file_name: str
    identity: ImageIdentity
    state: ImageState
    at_most_bytes: int


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """`small_files`: name -> content. `lost_members`: what of the point's small files cannot be read, and why."""

    path: Path
    images: tuple[ImagePlan, ...]
    small_files: tuple[tuple[str, bytes], ...]
    lost_members: tuple[str, ...]
    free_bytes: int
    """There, or where the folder is yet to be made."""

    @property
    def needed_bytes(self) -> int:
        """At most, for what is not complete yet."""
        return sum(
            image.at_most_bytes for image in self.images if image.state.found in (Found.NOTHING, Found.UNFINISHED)
        )


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """One disk to one block device. `compare`: read the device first, write only the pages that differ."""

    manifest: DiskManifest
    path: Path
    device_bytes: int
    at_most_bytes: int
    compare: bool


def plan_folder(point: RescuePoint, path: Path, disks: Sequence[str], *, keep_going: bool) -> FolderPlan:
    """Image files of these disks (all for none), with the point's small files. Changes nothing.

    Raises DiskUnknown, TargetExists, TargetUnfit, TargetUnwritable; what reading the point meets (a lost member only when not
    `keep_going`).
    """
    names = image_names(point.root)
    chosen = chosen_disks(point.root, disks)
    small_files, lost = _small_files(point, keep_going)
    if not path.exists():
        with open_folder(path.parent, make=False) as parent:
            free_bytes = parent.free_bytes()
        return FolderPlan(
            path,
            tuple(_image(point, disk, names[disk.disk], ImageState(Found.NOTHING)) for disk in chosen),
            small_files,
            lost,
            free_bytes,
        )
    with open_folder(path, make=False) as folder:
        images = tuple(
            _image(point, disk, names[disk.disk], _state(folder, point, disk, names[disk.disk])) for disk in chosen
        )
        for name, body in small_files:
            folder.holds(name, body)
        return FolderPlan(path, images, small_files, lost, folder.free_bytes())


def plan_device(point: RescuePoint, path: Path, disks: Sequence[str], *, compare: bool) -> DevicePlan:
    """The one disk that was asked for, or the point's only one. Changes nothing.

    Raises DiskUnknown, TargetUnfit (several disks, no block device, too small), TargetUnwritable, StoreUnavailable.
    """
    chosen = chosen_disks(point.root, disks)
    if len(chosen) != 1:
        raise TargetUnfit(
            f"{path} can hold one disk; the point has {', '.join(disk.disk for disk in chosen) or 'none'}. "
            "Choose one with --disk."
        )
    size_bytes = device_size(path)
    if size_bytes < chosen[0].size_bytes:
        raise TargetUnfit(
            f"{path} has {size_bytes} bytes; disk {chosen[0].disk} has {chosen[0].size_bytes}. Choose a larger device."
        )
    return DevicePlan(chosen[0], path, size_bytes, _at_most(point, chosen[0]), compare)


def identity_of(point: RescuePoint, disk: DiskManifest) -> ImageIdentity:
    return ImageIdentity(point.root.point_id, disk.disk, disk.size_bytes, point.statement.root_hash.hex())


def _image(point: RescuePoint, disk: DiskManifest, name: str, state: ImageState) -> ImagePlan:
    return ImagePlan(disk, name, identity_of(point, disk), state, _at_most(point, disk))


def _state(folder: TargetFolder, point: RescuePoint, disk: DiskManifest, name: str) -> ImageState:
    state = look_at_image(folder, name, identity_of(point, disk))
    if state.found is Found.NOTHING and folder.facts(name + DAMAGED) is not None:
        raise TargetExists(f"{folder.path / name}{DAMAGED} exists. Remove it, or choose another directory.")
    return state


def _small_files(point: RescuePoint, keep_going: bool) -> tuple[tuple[tuple[str, bytes], ...], tuple[str, ...]]:
    files: list[tuple[str, bytes]] = []
    lost: list[str] = []
    for member, name in member_names(point.root).items():
        try:
            files.append((name, point.reader.member(member) or b""))
        except LOST as error:
            if not keep_going:
                raise _named(error, f"point {point.root.point_id}, {member}") from error
            lost.append(f"{member}: {error}")
    files.append((HOW_TO, how_to_text(point.root).encode()))
    return tuple(files), tuple(lost)


def _named(error: RepositoryError, what: str) -> RepositoryError:
    return type(error)(f"{what}: {error}")


def _at_most(point: RescuePoint, disk: DiskManifest) -> int:
    """One chunk is read for 16 GiB of disk; what cannot be read counts as full."""
    total = 0
    for number, child in enumerate(disk.nodes):
        try:
            pages = point.reader.node(child, disk, number).children if child.chunk else ()
        except LOST:
            total += min(NODE_BYTES, disk.size_bytes - number * NODE_BYTES)
            continue
        first = number * PAGES_PER_NODE
        total += sum(
            page_length(disk.size_bytes, first + at) for at, page in enumerate(pages) if page.chunk is not None
        )
    return total
