"""Secrets on the administrator's disk: written whole into a new file that nobody else may read."""

import os
from pathlib import Path


def write_new_private(path: Path, text: str) -> None:
    """Mode 0600, flushed to the disk; nothing is left of it when it fails. Raises FileExistsError, also for a link; OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
