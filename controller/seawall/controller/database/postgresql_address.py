"""Where the PostgreSQL server is, without the password, and where that comes from."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from seawall.controller.database_url import check_database_url
from seawall.controller.errors import FailedPrecondition, InvalidArgument


@dataclass(frozen=True, slots=True)
class Address:
    """`str()` is what people and logs see: the URL as it was given, which holds no password."""

    url: str
    password_file: Path | None = None
    """One line, readable by its owner alone. None: PGPASSFILE, ~/.pgpass or a service file, as libpq does it by itself."""

    def __str__(self) -> str:
        return self.url

    def conninfo(self) -> str:
        """With the password, read anew each time: it may be changed while the controller runs.

        Raises FailedPrecondition/DATABASE_PASSWORD_FILE.
        """
        if self.password_file is None:
            return make_conninfo(self.url)
        return make_conninfo(self.url, password=_password(self.password_file))


def parse_address(url: str, password_file: Path | None = None) -> Address:
    """Raises InvalidArgument/BAD_CONFIG. The message never repeats a URL that holds a password."""
    check_database_url(url)
    try:
        make_conninfo(url)
    except psycopg.Error as error:
        raise InvalidArgument("BAD_CONFIG", f"database: {str(error).strip()}") from error
    return Address(url, password_file)


def _password(file: Path) -> str:
    try:
        mode = os.stat(file).st_mode
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(
            "DATABASE_PASSWORD_FILE", f"The password of the database cannot be read from {file}: {error}"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FailedPrecondition(
            "DATABASE_PASSWORD_FILE", f"Others may read the password of the database: chmod 600 {file}"
        )
    if not text or "\n" in text:
        raise FailedPrecondition("DATABASE_PASSWORD_FILE", f"{file} must hold one line, the password.")
    return text
