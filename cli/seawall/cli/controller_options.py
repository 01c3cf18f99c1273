"""Options that commands on a controller's own machine share."""

import shlex
from collections.abc import Mapping
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


def as_typed(given: Mapping[str, object]) -> str:
    """Those that are given, as a shell takes them, each after a blank. What `server_names` holds is typed as `--name`, once each."""
    words: list[str] = []
    for key, value in given.items():
        option = "--name" if key == "server_names" else f"--{key.replace('_', '-')}"
        values = value if isinstance(value, tuple) else (value,)
        words += [word for one in values if one is not None for word in (option, str(one))]
    return "".join(f" {shlex.quote(word)}" for word in words)
