"""`seawall up`: controller, agent and repository of one machine, by one command."""

from pathlib import Path
from typing import Annotated

import typer

from seawall.cli import compose
from seawall.cli.new_repository import repository_url
from seawall.cli.session import JsonOption, answering
from seawall.cli.up.life import live
from seawall.cli.up.places import DEFAULT_STATE_DIR, Places
from seawall.cli.up.plan import Asked
from seawall.repository.clock import SystemClock

REPOSITORY = "Repository"
MACHINE = "This machine"
PLACES = "Places"

EPILOG = """[bold]What it keeps[/bold], below --state-dir: up.json (what was chosen), controller/
(keys, database), agent/ (identity, journal), repository/ (the backups, unless
--repo), recovery-main.txt (the recovery sheet), logs/ (8 MiB for each child,
and as much again of what was before). operator.toml, which the other commands
need, is /etc/seawall/operator.toml; with another --state-dir it lies in there,
and is given to them by --config or SEAWALL_CONFIG. controller.toml and
agent.toml beside it are read if they exist.

[bold]How it ends[/bold]: Ctrl-C, SIGTERM and SIGHUP end the agent, then the controller,
then the command, with exit code 0. Running backups are broken off and begin
again at the next start. A second signal ends both hard: 130, and so is an end
before everything was ready. A child that dies is started again after 1, 2, 4 …
30 seconds; the sixth death within 5 minutes ends everything, with its reason
and exit code 1. When the command itself is killed, both children end too.

[bold]Examples[/bold]

  seawall up

  seawall up --repo s3://backups --endpoint https://s3.example.net

  seawall up --name backup.example.net"""


def bring_up(
    repo: Annotated[
        str | None,
        typer.Option(
            help="s3://BUCKET, s3://BUCKET/PREFIX or a folder; asked once, at the first start.",
            show_default="a folder below --state-dir",
            rich_help_panel=REPOSITORY,
        ),
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help="The S3 server: https://host:port. Left out for AWS.", rich_help_panel=REPOSITORY)
    ] = "",
    region: Annotated[str, typer.Option(help="S3 region.", rich_help_panel=REPOSITORY)] = "us-east-1",
    name: Annotated[
        str | None,
        typer.Option(
            help="The DNS name or IP address by which other hosts reach this machine. They may then join; - takes that back.",
            show_default="loopback alone is served",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    host_name: Annotated[
        str | None,
        typer.Option(
            help="The name of this host in `seawall host list`.",
            show_default="this host's name",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    hypervisor: Annotated[
        str | None, typer.Option(help="libvirt URI.", show_default="qemu:///system", rich_help_panel=MACHINE)
    ] = None,
    state_dir: Annotated[
        Path, typer.Option(help="Everything that is kept; on a local disk.", rich_help_panel=PLACES)
    ] = DEFAULT_STATE_DIR,
    scratch_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where old blocks go while a backup runs; QEMU must be able to write there.",
            show_default="scratch below --state-dir",
            rich_help_panel=PLACES,
        ),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Sockets.", show_default="below /run/seawall", rich_help_panel=PLACES)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run everything that one hypervisor host needs: a controller, an agent, a
    repository. As root.

    The first start makes a certificate authority, keys, tokens, a repository
    and its recovery sheet. Every further one uses them again, with what was
    chosen for them; a start that was cut short is continued.

    It stays in the foreground and tells of events on standard error. With
    --json it prints one document on standard output when all is ready:
    addresses, operator file, repository, recovery sheet, process ids.

    S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or are
    asked for, and only until the repository is made.
    """
    with answering(as_json) as output:
        asked = Asked(
            repository_url=compose.store_url(repository_url(repo, endpoint, region)) if repo else None,
            name="" if name == "-" else name,  # an empty word is refused: it may be a variable that is unset
            host_name=host_name,
            hypervisor=hypervisor,
            run_dir=str(run_dir.absolute()) if run_dir else None,
            scratch_dir=str(scratch_dir.absolute()) if scratch_dir else None,
        )
        raise typer.Exit(live(Places(state_dir.absolute()), asked, output, SystemClock()))
