"""A raw image that is being rescued: a sparse file with an unfinished name, a journal beside it, the final name when it is complete."""

import fcntl
import os
from dataclasses import dataclass
from enum import Enum

from seawall.repository.blocks import data_ranges, write_zeroes
from seawall.repository.rescue.errors import TargetBusy, TargetExists
from seawall.repository.rescue.files import JOURNAL, PARTIAL, FileFacts, TargetFolder, target_errors
from seawall.repository.rescue.journal import LIMIT_BYTES, ImageIdentity, Journal, JournalState, parse_journal
from seawall.repository.rescue.open_target import OpenTarget


class Found(Enum):
    """What an earlier attempt left."""

    NOTHING = "new"
    UNFINISHED = "goes on"
    UNNAMED = "complete, without its final name"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ImageState:
    """What lies at an image's place."""

    found: Found
    pages: frozenset[int] = frozenset()
    """Those that the journal names."""


def look_at_image(folder: TargetFolder, name: str, identity: ImageIdentity) -> ImageState:
    """Changes nothing. Raises TargetExists when something is there that this rescue, of this very disk, did not leave."""
    final, partial, noted = (folder.facts(name + end) for end in ("", PARTIAL, JOURNAL))
    journal = parse_journal(folder.read(name + JOURNAL, LIMIT_BYTES)) if noted is not None and noted.mine else None
    return decide(str(folder.path / name), identity, final, partial, journal)


def decide(
    path: str,
    identity: ImageIdentity,
    final: FileFacts | None,
    partial: FileFacts | None,
    journal: JournalState | None,
) -> ImageState:
    """Pure. Raises TargetExists."""
    if journal is not None and journal.identity != identity and (partial or final):
        other = journal.identity
        raise TargetExists(
            f"{path}: an unfinished rescue of disk {other.disk} of point {other.point_id} lies here. "
            "Finish it, remove its files, or choose another directory."
        )
    if final is not None:
        if journal is not None and journal.complete and _is(final, journal):
            return ImageState(Found.COMPLETE)
        raise TargetExists(f"{path} exists. Nothing is ever overwritten: choose another directory.")
    if partial is None:
        return ImageState(Found.NOTHING)
    if journal is not None and _is(partial, journal):
        return ImageState(Found.UNNAMED if journal.complete else Found.UNFINISHED, journal.pages)
    if journal is None and partial.mine and partial.stored_bytes == 0:
        return ImageState(Found.NOTHING)  # an attempt that died as it began
    raise TargetExists(
        f"{path}{PARTIAL} is not what an earlier attempt of this rescue left. Look at it, then remove it."
    )


def _is(file: FileFacts, journal: JournalState) -> bool:
    """A name elsewhere would make it somebody's file; two are an image that got its final name when the attempt was killed."""
    return file.mine and file.inode == journal.inode and file.names <= (2 if journal.complete else 1)


class ImageFile(OpenTarget):
    """A DiskSink that can be read back. Thread-safe; every call names its place. Raises TargetFull, TargetUnwritable."""

    def __init__(self, folder: TargetFolder, name: str, descriptor: int, journal: Journal) -> None:
        super().__init__(descriptor, str(folder.path / name))
        self._folder = folder
        self._name = name
        self.journal = journal

    def zero(self, offset: int, length: int) -> None:
        """A hole stays one; what an earlier attempt or somebody else left in the range is overwritten."""
        with target_errors(self._label):
            for start, size in data_ranges(self._descriptor, offset, length):
                write_zeroes(self._descriptor, start, size)

    def finish(self) -> None:
        """Durable and complete, under its final name. Raises TargetExists too."""
        self.flush()
        self.journal.note_complete()
        self._folder.name_finally(self._name + PARTIAL, self._name)

    def close(self) -> None:
        """Whatever became of it; the unfinished file and its journal stay."""
        self.journal.close()
        os.close(self._descriptor)


def open_image(folder: TargetFolder, name: str, identity: ImageIdentity, state: ImageState) -> ImageFile:
    """The image as `look_at_image` found it (NOTHING or UNFINISHED), locked against a second rescue.

    Raises TargetBusy, TargetExists, TargetFull, TargetUnwritable.
    """
    if state.found is Found.NOTHING:
        for leftover in (PARTIAL, JOURNAL):
            folder.remove(name + leftover)
        return _new_image(folder, name, identity)
    descriptor = folder.reopen(name + PARTIAL)
    try:
        _lock(descriptor, folder, name)
        if look_at_image(folder, name, identity).found is not Found.UNFINISHED:
            raise TargetBusy(f"{folder.path / name}: another rescue wrote it meanwhile. Run the command again.")
        journal = Journal(folder, name + JOURNAL, folder.reopen(name + JOURNAL))
        journal.go_on()
        _set_size(descriptor, folder, name, identity)
    except BaseException:
        os.close(descriptor)
        raise
    return ImageFile(folder, name, descriptor, journal)


def finish_unnamed(folder: TargetFolder, name: str) -> None:
    """The final name for what was complete when an attempt was killed."""
    folder.name_finally(name + PARTIAL, name)


def forget_journal(folder: TargetFolder, name: str) -> None:
    """Called when everything is complete: from then on the image is just a file that exists."""
    folder.remove(name + PARTIAL)
    folder.remove(name + JOURNAL)


def _new_image(folder: TargetFolder, name: str, identity: ImageIdentity) -> ImageFile:
    descriptor = folder.create(name + PARTIAL)
    try:
        _lock(descriptor, folder, name)
        _set_size(descriptor, folder, name, identity)
        journal = Journal(folder, name + JOURNAL, folder.create(name + JOURNAL))
        journal.begin(identity, os.fstat(descriptor).st_ino)
        folder.sync()
    except BaseException:
        os.close(descriptor)
        raise
    return ImageFile(folder, name, descriptor, journal)


def _set_size(descriptor: int, folder: TargetFolder, name: str, identity: ImageIdentity) -> None:
    with target_errors(str(folder.path / name)):
        if os.fstat(descriptor).st_size != identity.size_bytes:
            os.ftruncate(descriptor, identity.size_bytes)


def _lock(descriptor: int, folder: TargetFolder, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TargetBusy(f"{folder.path / name}: another rescue is writing it. Wait for it, or end it.") from error
