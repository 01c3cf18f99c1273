"""The address of a PostgreSQL database as people write it. Pure: no driver is loaded for it."""

from urllib.parse import parse_qs, urlsplit

from seawall.controller.errors import InvalidArgument

SCHEMES = ("postgresql", "postgres")


def check_database_url(url: str) -> None:
    """Raises InvalidArgument/BAD_CONFIG. The message never repeats the URL: it may hold a password."""
    if not url.isprintable() or " " in url:
        raise InvalidArgument("BAD_CONFIG", "database: it holds characters that no URL has")
    try:
        parts = urlsplit(url)
        given = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError as error:
        raise InvalidArgument("BAD_CONFIG", "database: it is no postgresql://USER@HOST:PORT/NAME") from error
    if given:
        raise InvalidArgument(
            "BAD_CONFIG",
            "database: it holds a password, which everybody on this machine sees in the list of processes. Leave it out, and name a "
            "file with --database-password-file, or use PGPASSFILE",
        )
    if parts.scheme not in SCHEMES or not parts.path.strip("/"):
        raise InvalidArgument("BAD_CONFIG", "database: it is no postgresql://USER@HOST:PORT/NAME")
