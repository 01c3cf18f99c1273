"""Options that commands on a controller's own machine share."""

from pathlib import Path
from typing import Annotated

import typer

StateDir = Annotated[
    Path | None,
    typer.Option(help="Keys, database and index; on a local disk.", show_default="/var/lib/seawall/controller"),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="The controller's own settings.", show_default="/etc/seawall/controller.toml")
]
