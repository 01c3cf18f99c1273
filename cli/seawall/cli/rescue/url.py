"""The repository's URL as a rescue is told it: from the sheet, from the command line, or partly from each. Pure."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from seawall.cli.exits import CommandError, Exit


def rescue_url(place: str, endpoint: str, region: str, ca_file: Path | None) -> str:
    """`place`: a folder or a URL; an option replaces what the URL says. Raises CommandError where an option has no meaning."""
    options = {"endpoint": endpoint, "region": region, "ca_file": str(ca_file.absolute()) if ca_file else ""}
    given = {key: value for key, value in options.items() if value}
    if "://" not in place:
        place = Path(place).absolute().as_uri()
    if not given:
        return place
    parts = urlsplit(place)
    if parts.scheme != "s3":
        raise CommandError(
            Exit.USAGE, "BAD_URL", "--endpoint, --region and --ca-file are of s3://BUCKET[/PREFIX]; a folder has none."
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | given
    return urlunsplit(parts._replace(query=urlencode(query, safe=":/")))
