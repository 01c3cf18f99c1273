"""The `seawall` command: its groups and verbs. One file per group under commands/."""

import sys
from typing import Annotated

import typer

from seawall.cli.commands import (
    agent,
    backup,
    controller,
    hook,
    host,
    job,
    limit,
    point,
    policy,
    repo,
    rescue,
    restore,
    run,
    status,
    up,
    user,
    vm,
)
from seawall.cli.exits import table_text
from seawall.cli.usage import SeawallGroup

app = typer.Typer(
    name="seawall",
    cls=SeawallGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Backup of virtual machines for whole fleets of libvirt/QEMU hosts.\n\n"
    "Every command takes --help and --json. `seawall --install-completion` sets up shell completion.",
    epilog=table_text(),
)

app.command("up", epilog=up.EPILOG)(up.bring_up)
app.command("status")(status.show_status)
app.command("backup")(backup.start_backup)
app.command("restore")(restore.start_restore)
for group in (
    controller.app,
    agent.app,
    host.app,
    vm.app,
    run.app,
    point.app,
    limit.app,
    policy.app,
    hook.app,
    repo.app,
    job.app,
    user.app,
    rescue.app,
):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"seawall {version('seawall')}\n")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of `seawall` itself."""


def main() -> None:
    """Entry point of the console script."""
    app()
