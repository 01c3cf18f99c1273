"""The note beside an unfinished image: what it is of, and which of its pages were written. Lines of text, appended.

It is a hint and never a proof: a page that it names is read back and hashed before it is kept. So no line needs to be synced, and what a
crash did to the file or to the journal can cost work, not content. Only the last line, "complete", is written after the image is durable.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from seawall.repository.rescue.files import TargetFolder, target_errors

LIMIT_BYTES = 64 * 1024 * 1024
_VERSION = 1
_COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """What an image will hold. Equal identities hold equal bytes: the root names every chunk."""

    point_id: str
    disk: str
    size_bytes: int
    root_hash: str


@dataclass(frozen=True, slots=True)
class JournalState:
    """What a journal says. `inode`: of the file that it is about."""

    identity: ImageIdentity
    inode: int
    pages: frozenset[int]
    complete: bool


def header_line(identity: ImageIdentity, inode: int) -> str:
    return json.dumps({"seawall_rescue": _VERSION, "inode": inode, **asdict(identity)})


def parse_journal(body: bytes) -> JournalState | None:
    """None when its first line is not whole: the attempt died as it began. Later lines that make no sense are left out."""
    first, *lines = body.decode(errors="replace").split("\n")
    try:
        head = json.loads(first)
        identity = ImageIdentity(
            str(head["point_id"]), str(head["disk"]), int(head["size_bytes"]), str(head["root_hash"])
        )
        inode = int(head["inode"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if head.get("seawall_rescue") != _VERSION or not lines:
        return None
    whole = lines[:-1]  # behind the last line break is what was being written
    return JournalState(identity, inode, frozenset(_numbers(whole)), _COMPLETE in whole)


def _numbers(lines: Iterable[str]) -> Iterable[int]:
    return (int(line) for line in lines if line.isascii() and line.isdecimal() and len(line) < 12)


class Journal:
    """A journal open for appending. Used by one thread."""

    def __init__(self, folder: TargetFolder, name: str, descriptor: int) -> None:
        self._label = str(folder.path / name)
        self._descriptor = descriptor
        os.lseek(descriptor, 0, os.SEEK_END)

    def note_page(self, index: int) -> None:
        """Raises TargetFull, TargetUnwritable."""
        self._append(f"{index}\n")

    def note_complete(self) -> None:
        """Durable when it returns; called only after the image is. Raises TargetFull, TargetUnwritable."""
        # A torn line before it must not swallow it.
        self._append(f"\n{_COMPLETE}\n")
        with target_errors(self._label):
            os.fsync(self._descriptor)

    def begin(self, identity: ImageIdentity, inode: int) -> None:
        """The first line of a new journal, durable. Raises TargetFull, TargetUnwritable."""
        self._append(header_line(identity, inode) + "\n")
        with target_errors(self._label):
            os.fsync(self._descriptor)

    def go_on(self) -> None:
        """What a crash tore off is ended, so that the next line stands alone."""
        self._append("\n")

    def close(self) -> None:
        os.close(self._descriptor)

    def _append(self, text: str) -> None:
        with target_errors(self._label):
            rest = memoryview(text.encode())
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
