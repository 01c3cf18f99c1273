"""Making one member's file for a restored VM."""

import os
from contextlib import suppress
from pathlib import Path

from seawall.repository.store.files import sync_folder

OWN_FOLDER_MODE = 0o700


def write_member(path: Path, body: bytes, owner: tuple[int, int] | None, *, own_folder: bool) -> None:
    """A new file of the owner's, for nobody else to read, durable when this returns. One of that name is replaced: it is our own.

    `own_folder`: the folder is the owner's too. Raises OSError.
    """
    if own_folder:
        path.parent.chmod(OWN_FOLDER_MODE)
        if owner is not None:
            os.chown(path.parent, *owner)
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fsync(descriptor)
    sync_folder(path.parent)
