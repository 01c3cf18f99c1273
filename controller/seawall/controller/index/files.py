"""The files of one index: opening them, adding shards, saving marks and the listing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from seawall.controller.errors import Unavailable
from seawall.controller.index.layout import Rows
from seawall.controller.index.listing import (
    Listed,
    new_name,
    read_listing,
    read_part,
    remove_unlisted,
    write_listing,
    write_marks,
)
from seawall.controller.index.merge import Merge
from seawall.controller.index.part import Part
from seawall.controller.index.shard import IndexDamaged, map_shard, write_shard
from seawall.controller.index.state import Shard

_log = structlog.get_logger()


class Stopped(Exception):
    """The index is being closed; what was under way is thrown away."""


class Files:
    """Thread-safe."""

    def __init__(self, directory: Path, listed: tuple[Listed, ...] | None) -> None:
        self.directory = directory
        self._listed = listed  # as the listing on disk says; None: there is none
        self._saving = threading.Lock()

    @classmethod
    def open(cls, directory: Path) -> tuple["Files", tuple[Shard, ...], str | None]:
        """Reads and checks all files. Returns the shards that are whole, and why others are missing. Raises OSError."""
        try:
            listed = read_listing(directory)
        except IndexDamaged as error:
            remove_unlisted(directory, ())
            return cls(directory, None), (), str(error)
        whole, shards, reasons = [], [], []
        for each in listed:
            try:
                shards.append(Shard(each.shard, each.shard_blake3, read_part(directory, each)))
                whole.append(each)
            except IndexDamaged as error:
                _log.warning("index.shard_damaged", directory=str(directory), reason=str(error))
                reasons.append(str(error))
        if reasons:
            write_listing(directory, whole)
        remove_unlisted(directory, whole)
        return cls(directory, tuple(whole)), tuple(shards), "; ".join(reasons) or None

    @contextmanager
    def told(self) -> Iterator[None]:
        """OSError as Unavailable/INDEX_NOT_WRITTEN."""
        try:
            yield
        except OSError as error:
            raise Unavailable(
                "INDEX_NOT_WRITTEN",
                f"The chunk index in {self.directory} cannot be written: {error}. Make room, or mend the disk; it is tried again.",
            ) from error

    def write(self, merge: Merge, go_on: Callable[[], None] = lambda: None) -> Shard:
        """A new file; `save` makes it count. Raises OSError, what `go_on` raises."""
        name = new_name("shard")
        digest = write_shard(self.directory / name, merge, go_on)
        return Shard(name, digest, Part(map_shard(self.directory / name, lookups=True)))

    def ahead(self, shards: tuple[Shard, ...], merge: Merge) -> Merge:
        """The merge of these shards, read through maps of its own, which the system reads ahead and drops afterwards. Raises OSError."""
        sources = (
            replace(source, segment=map_shard(self.directory / shard.name, lookups=False))
            for shard, source in zip(shards, merge.sources, strict=True)
        )
        return replace(merge, sources=tuple(sources))

    def save(self, shards_now: Callable[[], tuple[Shard, ...]], changes: threading.Lock) -> None:
        """Marks that no file has, then the listing; then files that it does not name go.

        Raises OSError; marks are saved the next time then.
        """
        with self._saving:
            before = {each.shard: each for each in self._listed or ()}
            with changes:
                shards = shards_now()
                unsaved = [shard for shard in shards if shard.part.unsaved]
                copies = {shard.name: (shard.part.flags.copy(), shard.part.withdrawn.copy()) for shard in unsaved}
                for shard in unsaved:
                    shard.part.unsaved = False
            try:
                listed = tuple(self._marked(shard, before.get(shard.name), copies.get(shard.name)) for shard in shards)
                if listed != self._listed:
                    write_listing(self.directory, listed)
            except BaseException:
                for shard in unsaved:
                    shard.part.unsaved = True
                raise
            self._listed = listed
            gone = {name for each in before.values() for name in (each.shard, each.marks) if name}
            gone -= {name for each in listed for name in (each.shard, each.marks)}
            for name in gone:
                with suppress(OSError):  # the next start removes it
                    (self.directory / name).unlink(missing_ok=True)

    def _marked(self, shard: Shard, before: Listed | None, marks: tuple[Rows, NDArray[np.uint8]] | None) -> Listed:
        known = before or Listed(shard.name, shard.digest)
        if marks is None:
            return known
        name = new_name("marks")
        return replace(known, marks=name, marks_blake3=write_marks(self.directory / name, *marks))
