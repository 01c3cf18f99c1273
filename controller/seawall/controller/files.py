"""Files of the state directory: written whole or not at all."""

import os
from pathlib import Path


def write_file(path: Path, body: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file with one of this mode. Durable when it returns; a crash leaves the old one or the new.

    `owner`: (user, group) that it belongs to from its first moment under this name; None: whoever runs this.
    Raises OSError, which names the file also where the system does not: a full disk refuses the content, not the name.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException as error:
        fresh.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Names made or renamed in it survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
