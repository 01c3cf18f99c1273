"""Where a repository lies, the key that opens it, and the bucket's credentials, for commands that have no controller to ask."""

import os
import sys
from pathlib import Path

import typer

from seawall.cli.exits import CommandError, Exit
from seawall.cli.rescue.url import rescue_url
from seawall.repository.rescue.key_file import KeyFile, read_key_file
from seawall.repository.store.location import S3Credentials, S3Location, parse_location


def key_and_place(
    key_file: Path, repository: str, endpoint: str, region: str, ca_file: Path | None
) -> tuple[KeyFile, str]:
    """(key, the store's URL: the one given, else the sheet's). Raises CommandError, KeyFileUnusable, LocationInvalid."""
    key = read_key_file(key_file)
    sheet = key.material.sheet
    place = repository or (sheet.repository_url if sheet else "")
    if not place:
        raise CommandError(
            Exit.USAGE, "NO_REPOSITORY", "Say which: --repository URL. The key file names none, being no whole sheet."
        )
    url = rescue_url(place, endpoint, region, ca_file)
    location = parse_location(url)
    if isinstance(location, S3Location) and location.ca_file and not Path(location.ca_file).is_file():
        raise CommandError(
            Exit.USAGE, "NO_CA_FILE", f"There is no CA file {location.ca_file} here. Name yours with --ca-file."
        )
    return key, url


def bucket_credentials(url: str) -> S3Credentials | None:
    """From the environment, else asked for; None where the store needs none. Raises CommandError."""
    if not url.startswith("s3:"):
        return None
    access_key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if access_key and secret_key:
        return S3Credentials(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    if not sys.stdin.isatty():
        raise CommandError(
            Exit.USAGE,
            "NO_CREDENTIALS",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: a key that may list and read the bucket.",
        )
    return S3Credentials(typer.prompt("Access key", err=True), typer.prompt("Secret key", hide_input=True, err=True))
