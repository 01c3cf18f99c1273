"""Asking the controller for a new repository: its URL, the bucket's credentials, its recovery sheet. Used by `repo add` and `up`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.connection import ADD_REPOSITORY_SECONDS, Controller, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.recovery_file import recovery_key_file


@dataclass(frozen=True, slots=True)
class NewRepository:
    """What is asked for."""

    name: str
    url: str
    """As `repository_url` makes it."""
    recovery_key: Path
    """Where the recovery sheet goes."""
    chunk_nominal_bytes: int = 0
    """0: the controller's default."""
    accept_unsafe_store: bool = False


def add_repository(controller: Controller, wanted: NewRepository) -> resources_pb2.Repository:
    """Made, with its sheet written. May be repeated after a lost answer: the key in the unfinished sheet says that it is the same request.

    Raises CommandError: no credentials, a taken recovery file, and whatever the controller refuses.
    """
    access_key, secret_key = _credentials() if wanted.url.startswith("s3:") else ("", "")
    with recovery_key_file(wanted.recovery_key) as key:
        request = operator_pb2.AddRepositoryRequest(
            request_id=new_request_id(),
            name=wanted.name,
            url=wanted.url,
            access_key=access_key,
            secret_key=secret_key,
            chunk_nominal_bytes=wanted.chunk_nominal_bytes,
            recovery_public_key=key.public_key,
            accept_unsafe_store=wanted.accept_unsafe_store,
        )
        answer: operator_pb2.AddRepositoryResponse = controller.call(
            controller.backup.AddRepository, request, timeout_seconds=ADD_REPOSITORY_SECONDS
        )
        key.finish(answer.repository)
    return answer.repository


def repository_url(url: str, endpoint: str, region: str) -> str:
    """The URL as the controller wants it: s3://bucket/prefix?endpoint=…&region=… or file:///path. Raises CommandError."""
    parts = urlsplit(url)
    if "://" not in url and parts.scheme != "s3" and not endpoint:
        return Path(url).resolve().as_uri()
    if url.startswith("s3://") and not parts.query:
        query = {"endpoint": endpoint, "region": region} if endpoint else {"region": region}
        return urlunsplit(parts._replace(query=urlencode(query, safe=":/")))
    if url.startswith(("s3://", "file://")) and not endpoint:
        return url
    raise CommandError(
        Exit.USAGE, "BAD_URL", f"{url!r} is neither s3://BUCKET[/PREFIX] (with --endpoint) nor a folder."
    )


def _credentials() -> tuple[str, str]:
    """Access key and secret key, from the environment or a prompt."""
    access_key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    if access_key and secret_key:
        return access_key, secret_key
    if not sys.stdin.isatty():
        raise CommandError(
            Exit.USAGE,
            "NO_CREDENTIALS",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: the bucket's key, which only the controller keeps.",
        )
    return typer.prompt("Access key", err=True), typer.prompt("Secret key", hide_input=True, err=True)
