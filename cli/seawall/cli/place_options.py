"""Options that say where a repository lies, for commands that have no controller to ask."""

from pathlib import Path
from typing import Annotated

import typer

PlaceOption = Annotated[
    str,
    typer.Option(
        help="s3://BUCKET or s3://BUCKET/PREFIX, a whole URL as on the recovery sheet, or a folder.",
        show_default="the one on the sheet",
    ),
]
EndpointOption = Annotated[str, typer.Option(help="The S3 server: https://host:port. Left out for AWS.")]
RegionOption = Annotated[str, typer.Option(help="S3 region.", show_default="us-east-1")]
CaFileOption = Annotated[
    Path | None, typer.Option(help="PEM file of the CA that signed the S3 server's certificate, if it is your own.")
]
