"""`seawall repo`: the buckets and folders that hold the backups."""

from pathlib import Path
from typing import Annotated

import typer

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.commands.repo_jobs import (
    RepositoryArgument,
    check_repository,
    collect_garbage,
    heal_repository,
    list_jobs,
)
from seawall.cli.commands.repo_probe import probe_repository
from seawall.cli.connection import PAGE_SIZE
from seawall.cli.exits import CommandError, Exit
from seawall.cli.new_repository import NewRepository, add_repository, repository_url
from seawall.cli.output import Output
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import local, parse_size, size

app = typer.Typer(name="repo", no_args_is_help=True, help="Repositories: a bucket or folder with its keys.")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    url: Annotated[
        str,
        typer.Argument(
            help="s3://BUCKET or s3://BUCKET/PREFIX, or a folder that the controller and every host mount at this path."
        ),
    ],
    recovery_key: Annotated[
        Path,
        typer.Option(
            help="Where to write the recovery sheet (mode 0600). Print it and keep it away from the site: it alone opens the backups."
        ),
    ],
    endpoint: Annotated[str, typer.Option(help="The S3 server: https://host:port. Left out for AWS.")] = "",
    region: Annotated[str, typer.Option(help="S3 region.")] = "us-east-1",
    chunk_size: Annotated[str, typer.Option(help="Nominal chunk size, a power of two from 8KiB to 1MiB.")] = "64KiB",
    accept_unsafe_store: Annotated[
        bool, typer.Option("--accept-unsafe-store", help="Go on although the store ignores conditional PUT.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a repository: probes the bucket, makes the keys, writes the recovery sheet.

    S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or are asked for; never from the command line.

    Example: seawall repo add main s3://backups --endpoint https://s3.example.net --recovery-key recovery-main.txt
    """
    with session(config, as_json) as (controller, output):
        wanted = NewRepository(
            name, repository_url(url, endpoint, region), recovery_key, _chunk_size(chunk_size), accept_unsafe_store
        )
        made = add_repository(controller, wanted)
        if as_json:
            return output.json(made)
        output.line(f"Repository {made.name} is ready at {made.url}.")
        output.line(f"The recovery sheet is {recovery_key}. Print it and keep it away from this site.")
        _print_warnings(output, made)


@app.command("list")
def list_repositories(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the repositories."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.ListRepositoriesRequest(page_size=PAGE_SIZE)
        found = controller.pages(controller.backup.ListRepositories, request, "repositories")
        if as_json:
            return output.json({"repositories": found})
        output.table(
            ("REPOSITORY", "URL", ">POINTS", ">STORED", "STORE", "CREATED", "#ID"),
            (
                (
                    repo.name,
                    repo.url,
                    str(repo.point_count),
                    size(repo.stored_bytes),
                    "trouble" if repo.trouble else "ok",
                    local(repo.created_at),
                    repo.repository_id,
                )
                for repo in found
            ),
            "No repository yet. `seawall repo add NAME URL` makes one.",
        )


@app.command("show")
def show(repository: RepositoryArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one repository and what its store can do."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.GetRepositoryRequest(repository=repository)
        found = controller.call(controller.backup.GetRepository, request).repository
        if as_json:
            return output.json(found)
        output.line(found.name, style="bold")
        output.line(f"id        {found.repository_id}\nurl       {found.url}\nlineage   {found.lineage_id}")
        output.line(f"created   {local(found.created_at)}\npoints    {found.point_count}")
        output.line(f"packs     {found.pack_count}, {size(found.stored_bytes)}\nchunks    {found.chunk_size} nominal")
        if found.trouble:
            output.line(f"store     {found.trouble}", style="red")
        _print_warnings(output, found)


@app.command("keys")
def keys(repository: RepositoryArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show who can open a repository. The secret keys themselves are never shown."""
    with session(config, as_json) as (controller, output):
        request = operator_pb2.GetRepositoryRequest(repository=repository)
        found = controller.call(controller.backup.GetRepository, request).repository
        if as_json:
            signing = found.signing_public_key
            return output.json(
                {"repository": found.name, "signing_public_key": signing.hex(), "wrappers": list(found.wrappers)}
            )
        output.table(
            ("RECIPIENT", ">EPOCH", "PUBLIC KEY (X25519)"),
            ((wrapper.name, str(wrapper.epoch), wrapper.recipient_public_key.hex()) for wrapper in found.wrappers),
            "",
        )
        output.line(
            f"\nManifests are signed by {found.signing_public_key.hex()} (Ed25519); it stands on the recovery sheet too."
        )


app.command("collect")(collect_garbage)
app.command("check")(check_repository)
app.command("heal")(heal_repository)
app.command("probe")(probe_repository)
app.command("jobs")(list_jobs)


def _chunk_size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise CommandError(
            Exit.USAGE, "BAD_CHUNK_SIZE", f"--chunk-size {text!r} is not a size such as 64KiB."
        ) from error


def _print_warnings(output: Output, repository: resources_pb2.Repository) -> None:
    for warning in repository.capabilities.warnings:
        output.line(f"warning   {warning}", style="yellow")
