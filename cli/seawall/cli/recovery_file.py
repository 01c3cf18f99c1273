"""The recovery key of a repository in the making: safe on disk before the repository is asked for, then a sheet to print.

Made here and never sent. A run of `repo add` that was cut short goes on with the key in the file; a finished sheet is never touched.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seawall.api.v1 import resources_pb2
from seawall.cli.exits import UNDECIDED, CommandError, Exit, system_error
from seawall.cli.private_file import write_new_private

UNFINISHED = "Recovery key of a Seawall repository that is being made:"


class RecoveryFile:
    """One key and the file that holds it (mode 0600, replaced whole)."""

    def __init__(self, path: Path, secret_key: bytes) -> None:
        self._path = path
        self._secret_key = secret_key

    @property
    def public_key(self) -> bytes:
        """X25519, 32 bytes: all that leaves this machine."""
        from seawall.repository.crypto.sealing import public_key_of

        return public_key_of(self._secret_key)

    def begin(self) -> None:
        """Write the bare key. Raises FileExistsError when the name is taken by now."""
        from seawall.repository.crypto.recovery import recovery_key_text

        new = self._written(f"{UNFINISHED}\n\n{recovery_key_text(self._secret_key)}\n")
        try:
            os.link(new, self._path)
        finally:
            new.unlink()

    def finish(self, repository: resources_pb2.Repository) -> None:
        """Replace the bare key by the whole sheet."""
        from seawall.repository.recovery_sheet import RecoverySheet, render_recovery_sheet

        lineage_id = bytes.fromhex(repository.lineage_id)
        sheet = RecoverySheet(self._secret_key, lineage_id, repository.signing_public_key, repository.url)
        self._written(render_recovery_sheet(sheet)).rename(self._path)

    def _written(self, text: str) -> Path:
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)  # of a process that was killed and had this number
        write_new_private(new, text)
        return new


@contextmanager
def recovery_key_file(path: Path) -> Iterator[RecoveryFile]:
    """The key in an unfinished file at `path`, or a new one, written there at once.

    The file is removed again when what is done inside was surely refused. Raises CommandError when anything else lies at `path`.
    """
    from seawall.repository.crypto.keys import new_secret

    try:
        secret_key = _unfinished_key(path)
        file = RecoveryFile(path, secret_key or new_secret())
        if secret_key is None:
            file.begin()
    except FileExistsError as error:
        raise CommandError(
            Exit.REFUSED,
            "RECOVERY_FILE_EXISTS",
            f"{path} exists. A recovery key is never overwritten: name another file.",
        ) from error
    except OSError as error:
        told = (
            f"{path} cannot be written: {error.strerror}. The recovery key must lie safe before the repository is made."
        )
        raise CommandError(system_error(error).code, "RECOVERY_FILE", told) from error
    try:
        yield file
    except CommandError as error:
        if error.code not in UNDECIDED and secret_key is None:
            with suppress(OSError):
                path.unlink()
        raise


def is_unfinished(path: Path) -> bool:
    """Whether the file at `path` waits for the rest of its sheet."""
    try:
        with path.open(errors="replace") as file:
            return file.readline() == f"{UNFINISHED}\n"
    except FileNotFoundError:
        return False


def _unfinished_key(path: Path) -> bytes | None:
    """The key of a run that was cut short; None where there is no file. Raises FileExistsError for any other file."""
    from seawall.repository.crypto.recovery import parse_recovery_key
    from seawall.repository.errors import WrongKey

    try:
        first, _, rest = path.read_text().partition("\n")
        if first == UNFINISHED:
            return parse_recovery_key(rest)
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, WrongKey) as error:
        raise FileExistsError(path) from error
    raise FileExistsError(path)
