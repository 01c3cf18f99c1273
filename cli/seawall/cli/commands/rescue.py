"""`seawall rescue`: everything back from the bucket and the recovery key alone, when the controller and its database are gone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from seawall.cli.exits import CommandError, Exit
from seawall.cli.place_options import CaFileOption, EndpointOption, PlaceOption, RegionOption
from seawall.cli.session import JsonOption, answering

app = typer.Typer(
    name="rescue",
    no_args_is_help=True,
    help="Restore without a controller: the repository and its recovery key are enough.\n\n"
    "S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or are asked for.\n\n"
    "Example: seawall rescue --repository s3://backups --endpoint https://s3.example.net --key recovery-main.txt list",
)


@dataclass(frozen=True, slots=True)
class RescueOptions:
    """Those of `seawall rescue` itself; "" and None: not given."""

    repository: str
    key: Path | None
    endpoint: str
    region: str
    ca_file: Path | None
    tenant: str
    ignore_tombstones: bool
    include_void: bool


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """Those of `seawall rescue restore`. Just one of `directory` and `device` is given."""

    point: str
    directory: Path | None
    device: Path | None
    disks: tuple[str, ...]
    resume: bool
    keep_going: bool
    plan_only: bool


@app.callback()
def rescue(
    context: typer.Context,
    repository: PlaceOption = "",
    key: Annotated[
        Path | None,
        typer.Option(help="The file with the recovery sheet, or with the recovery key alone; - for standard input."),
    ] = None,
    endpoint: EndpointOption = "",
    region: RegionOption = "",
    ca_file: CaFileOption = None,
    tenant: Annotated[str, typer.Option(help="Only points of this tenant.", show_default="all")] = "",
    ignore_tombstones: Annotated[
        bool,
        typer.Option(
            "--ignore-tombstones",
            help="Count deleted points too, as far as their manifests still lie there or were brought back.",
        ),
    ] = False,
    include_void: Annotated[
        bool,
        typer.Option(
            "--include-void",
            help="Count points too that a controller wrote after another one had taken its place. Some of their data may be gone.",
        ),
    ] = False,
) -> None:
    """Options that come before the verb."""
    context.obj = RescueOptions(repository, key, endpoint, region, ca_file, tenant, ignore_tombstones, include_void)


@app.command("list")
def list_points(
    context: typer.Context,
    vm: Annotated[
        str, typer.Option(help="Only points of this VM: its name, or its id or the first 8 digits of it.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List every VM and restore point in the repository, newest first; damaged ones with what is wrong.

    Every point's signature is checked, against the signing key on the recovery sheet where the key file holds the whole sheet.
    """
    with answering(as_json) as output:
        from seawall.cli.rescue.command import show_list

        show_list(output, context.obj, vm)


@app.command("restore")
def restore(
    context: typer.Context,
    point: Annotated[str, typer.Argument(help="The point's id, or enough of its first digits to be unique.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Directory for image files (DISK.raw) and domain.xml; made if it is missing."),
    ] = None,
    to_device: Annotated[
        Path | None,
        typer.Option("--to-device", help="Block device to write one disk to, which must be at least as large."),
    ] = None,
    disk: Annotated[list[str] | None, typer.Option(help="Only this disk; may be repeated.")] = None,
    overwrite_device: Annotated[
        bool, typer.Option("--overwrite-device", help="Yes, what is on the device may be lost.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="With --to-device: keep what an earlier attempt wrote, as far as it proves to be right."
        ),
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Write zeroes where the repository is damaged, list the ranges, and end with 1."
        ),
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a point to image files or a block device, the hash of every chunk checked.

    The same command goes on where an earlier one stopped (killed, interrupted, disk full, network cut): what is there is read back and
    proven first. An image has its final name only when it is complete. Files that exist are never overwritten.

    Example: seawall rescue --key recovery-main.txt restore 0192f3c1 --to /var/tmp/out
    """
    with answering(as_json) as output:
        if (to is None) == (to_device is None):
            raise CommandError(Exit.USAGE, "NO_TARGET", "Say where to: --to DIRECTORY or --to-device DEVICE.")
        if to_device is not None and not (overwrite_device or plan):
            raise CommandError(
                Exit.USAGE,
                "OVERWRITE_NOT_SAID",
                f"What is on {to_device} would be lost. Add --overwrite-device if that is meant.",
            )
        from seawall.cli.rescue.command import restore_point

        options = RestoreOptions(point, to, to_device, tuple(disk or ()), resume, keep_going, plan)
        restore_point(output, context.obj, options)
