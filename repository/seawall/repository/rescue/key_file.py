"""The file with the recovery key, as the operator names it: read with a bound, its mode looked at. Called by the command line."""

import codecs
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from seawall.repository.errors import RepositoryError
from seawall.repository.recovery_sheet import RecoveryMaterial, parse_recovery_material
from seawall.repository.rescue.errors import KeyFileUnusable

_LIMIT_BYTES = 64 * 1024
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The key, and what to tell the operator of its file."""

    material: RecoveryMaterial
    warnings: tuple[str, ...]


def read_key_file(path: Path) -> KeyFile:
    """A recovery sheet or a bare key; "-" is standard input. Raises KeyFileUnusable, for a mistyped key too."""
    try:
        text, mode = _read(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KeyFileUnusable(
            f"{path} cannot be read: {why}. Name the file that `repo add --recovery-key` wrote."
        ) from error
    try:
        material = parse_recovery_material(text)
    except RepositoryError as error:
        raise KeyFileUnusable(f"{path}: {error}. Compare it with the printed sheet.") from error
    warnings = []
    if mode & _OTHERS:
        warnings.append(f"{path} can be read by others (mode {S_IMODE(mode):04o}): chmod 600 it.")
    return KeyFile(material, tuple(warnings))


def _read(path: Path) -> tuple[str, int]:
    """(text, mode; 0 where a mode says nothing)."""
    if str(path) == "-":
        return _text(sys.stdin.buffer.read(_LIMIT_BYTES)), 0
    # Without O_NONBLOCK a pipe that somebody put there would hold the command for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        return _text(file.read(_LIMIT_BYTES) or b""), S_IMODE(os.fstat(descriptor).st_mode)


def _text(body: bytes) -> str:
    """What an editor saved, with or without a byte order mark. Raises UnicodeDecodeError."""
    marked = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return body.decode("utf-16" if marked else "utf-8-sig")
