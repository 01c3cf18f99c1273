"""What an agent hands in for a backup, and the checks of it that need no database."""

from collections.abc import Mapping
from dataclasses import dataclass

from blake3 import blake3

from seawall.controller.errors import DataLoss, InvalidArgument
from seawall.controller.publishing.slots import Slots
from seawall.controller.records.catalogue import PointDisk, PointMember
from seawall.controller.records.runs import Attempt, Progress, Run, RunWarning
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.text import printable
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, RefmapInvalid, WrongKey
from seawall.repository.format.layout import HandInKind, hand_in_name
from seawall.repository.format.manifest import Root
from seawall.repository.format.refmap import decode_refmap

# Both are read into memory. The refmap of 2^27 slots, the most that a point may have, takes less.
LONGEST_BYTES: Mapping[HandInKind, int] = {"root": 64 << 20, "refmap": 256 << 20, "log": 64 << 20}
MOST_DISKS = 256
MOST_MEMBERS = 64
LONGEST_MEMBER_NAME = 255
END_OF_TIME_US = 253_402_300_800_000_000  # the year 10000: the wire's timestamps go no further
MOST_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class HandIn:
    """The words of CompleteAttempt for a backup. Hashes are BLAKE3, 32 bytes."""

    root_hash: bytes
    refmap_hash: bytes
    instant_us: int
    guest_frozen: bool
    disks: tuple[PointDisk, ...]
    warnings: tuple[RunWarning, ...]
    progress: Progress | None
    may_leave: bool = False
    """Its worker goes as soon as the point is the controller's to publish."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """The two objects, read back and opened."""

    root_object: bytes
    root: Root
    refmap_object: bytes
    slots: Slots


def read_hand_in(repository: OpenedRepository, run: Run, attempt: Attempt, hand_in: HandIn) -> HandedIn:
    """For worker threads.

    Raises InvalidArgument/BAD_ROOT, BAD_REFMAP; DataLoss/HANDED_IN_OBJECT_DIFFERS; RepositoryError from the store.
    """
    root_object = _fetch(repository, attempt.id, "root", hand_in.root_hash, "BAD_ROOT")
    refmap_object = _fetch(repository, attempt.id, "refmap", hand_in.refmap_hash, "BAD_REFMAP")
    root = _open(repository, root_object)
    _check_root(repository, root, run, attempt, hand_in)
    return HandedIn(root_object, root, refmap_object, decoded_refmap(refmap_object, run.tenant))


def members_of(root: Root) -> tuple[PointMember, ...]:
    """For the catalogue, as many as it shows."""
    return tuple(PointMember(printable(one.name), one.chunk.raw_bytes) for one in root.members[:MOST_MEMBERS])


def decoded_refmap(refmap_object: bytes, tenant: str) -> Slots:
    """Raises InvalidArgument/BAD_REFMAP."""
    try:
        of_tenant, refmap = decode_refmap(refmap_object)
    except (RefmapInvalid, FormatUnsupported, IntegrityError) as error:
        raise InvalidArgument("BAD_REFMAP", f"The refmap cannot be read: {error}") from error
    if of_tenant != tenant:
        raise InvalidArgument("BAD_REFMAP", f"The refmap is of tenant {of_tenant}, the run of {tenant}.")
    return refmap.slots()


def _fetch(repository: OpenedRepository, attempt_id: str, what: HandInKind, digest: bytes, reason: str) -> bytes:
    if len(digest) != 32:
        raise InvalidArgument(reason, f"The hash of the {what} must have 32 bytes.")
    name = hand_in_name(attempt_id, what, digest)
    try:
        if repository.store.head(name).size_bytes > LONGEST_BYTES[what]:
            raise InvalidArgument(reason, f"The {what} has more than {LONGEST_BYTES[what]} bytes.")
        body = repository.store.get(name)
    except ObjectMissing as error:
        raise InvalidArgument(reason, f"The {what} is not in the store: {name}. Hand it in first.") from error
    if blake3(body).digest() != digest:
        raise DataLoss("HANDED_IN_OBJECT_DIFFERS", f"{name} does not have the bytes that its name says.")
    return body


def _open(repository: OpenedRepository, root_object: bytes) -> Root:
    try:
        return repository.open_root(root_object)
    except (IntegrityError, WrongKey, FormatUnsupported) as error:
        raise InvalidArgument("BAD_ROOT", f"The root cannot be opened: {error}") from error


def _check_root(repository: OpenedRepository, root: Root, run: Run, attempt: Attempt, hand_in: HandIn) -> None:
    named = (root.lineage_id, root.tenant, root.vm_id, root.point_id, root.parent_point_id)
    expected = (repository.lineage_id, run.tenant, run.vm_id, run.id, attempt.parent_point_id)
    if named[:4] != expected[:4] or named[4] not in ("", attempt.parent_point_id):
        raise InvalidArgument("BAD_ROOT", f"The root names {named[1:]}, the attempt is for {expected[1:]}.")
    inside = sorted((disk.disk, disk.size_bytes) for disk in root.disks)
    told = sorted((disk.disk, disk.size_bytes) for disk in hand_in.disks)
    if (
        not 0 < root.instant_us < END_OF_TIME_US
        or len(inside) > MOST_DISKS
        or sum(size for _, size in inside) > MOST_BYTES
    ):
        raise InvalidArgument("BAD_ROOT", "The root's instant, its number of disks or their sizes are out of bounds.")
    if len(root.members) > MOST_MEMBERS or any(not 0 < len(one.name) <= LONGEST_MEMBER_NAME for one in root.members):
        raise InvalidArgument("BAD_ROOT", "The root has too many members, or one without a usable name.")
    if inside != told or len({name for name, _ in inside}) != len(inside):
        raise InvalidArgument("BAD_ROOT", f"The root has the disks {inside}, the hand-in {told}.")
