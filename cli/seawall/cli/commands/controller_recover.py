"""`seawall controller recover`: the catalogue of a controller whose database is gone, from a bucket and its recovery key."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import compose
from seawall.cli.controller_options import ConfigFile, StateDir
from seawall.cli.output import Output
from seawall.cli.place_options import CaFileOption, EndpointOption, PlaceOption, RegionOption
from seawall.cli.recover_text import print_recovery, recovery_document
from seawall.cli.session import JsonOption, answering
from seawall.repository.clock import Clock, SystemClock

if TYPE_CHECKING:
    from seawall.controller.recovering.recovery import Recovered

NOTE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RecoverOptions:
    """ "" and None: not given."""

    repository: str
    key: Path
    name: str
    endpoint: str
    region: str
    ca_file: Path | None
    accept_unsafe_store: bool
    plan: bool


class Noting:
    """Says now and then how far it is."""

    def __init__(self, output: Output, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._said = clock.monotonic_seconds()

    def __call__(self, found: "Recovered") -> None:
        now = self._clock.monotonic_seconds()
        if now - self._said >= NOTE_SECONDS:
            self._said = now
            self._output.event(f"{found.adopted.seen} of {found.points_found} points")


def recover_catalogue(
    key: Annotated[
        Path,
        typer.Option(help="The file with the recovery sheet, or with the recovery key alone; - for standard input."),
    ],
    repository: PlaceOption = "",
    name: Annotated[str, typer.Option(help="The repository's name from now on.", show_default="the one it had")] = "",
    endpoint: EndpointOption = "",
    region: RegionOption = "",
    ca_file: CaFileOption = None,
    accept_unsafe_store: Annotated[
        bool, typer.Option("--accept-unsafe-store", help="Also where the store does not keep all that it should.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what is there; change nothing.")] = False,
    state_dir: StateDir = None,
    config_file: ConfigFile = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild the catalogue from a bucket, in a controller that `controller init` made and that is not running.

    Points come from the bucket, hosts, policies, limits, settings and holds from the export in it. For several repositories: once for each.
    May be repeated; one that was cut short goes on. S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    Example: seawall controller init … && seawall controller recover --key recovery-main.txt && seawall controller run
    """
    asked = RecoverOptions(repository, key, name, endpoint, region, ca_file, accept_unsafe_store, plan)
    with answering(as_json) as output:
        settings = compose.controller_config(config_file, state_dir=state_dir)
        found = compose.recover_controller(settings, asked, Noting(output, SystemClock()))
        if as_json:
            output.json(recovery_document(found, plan=plan))
        else:
            print_recovery(output, found, plan=plan)
