"""Where a store is, as written by an operator: `file:///path` or `s3://bucket/prefix?endpoint=https://host:port&region=us-east-1`."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from seawall.repository.errors import StoreRefused
from seawall.repository.store.names import is_name

REGION_DEFAULT = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


class LocationInvalid(StoreRefused):
    """A store's URL that cannot be understood. The message says how it should look."""


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Keys of a bucket. The secrets never show in a log or a traceback."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"S3Credentials(access_key={self.access_key!r}, secret_key=***)"


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket, or a part of one. `prefix` is "" or ends with "/". `ca_file`: certificates to trust instead of the system's."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = REGION_DEFAULT
    ca_file: str | None = None

    @property
    def url(self) -> str:
        options = {"endpoint": self.endpoint, "region": self.region, "ca_file": self.ca_file}
        query = "&".join(f"{key}={quote(value, safe=':/')}" for key, value in options.items() if value)
        return f"s3://{self.bucket}/{self.prefix.removesuffix('/')}?{query}"


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """A folder by its absolute path."""

    path: Path


Location = S3Location | FolderLocation


def is_protected(location: Location) -> bool:
    """Whether bytes cannot be altered unseen on their way there: over TLS, or into a folder, which its file system answers for."""
    return isinstance(location, FolderLocation) or not (location.endpoint or "https:").startswith("http:")


def parse_location(url: str) -> Location:
    """Raises LocationInvalid."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise LocationInvalid(f"{url!r} is not a URL: {error}") from error
    if parts.fragment:
        raise LocationInvalid("a store's URL has no '#': write it as %23")
    if parts.scheme == "s3":
        return _parse_s3(parts)
    if parts.scheme == "file":
        return _parse_folder(parts)
    raise LocationInvalid(f"{url!r}: a store is file:///path or s3://bucket/prefix?endpoint=https://host:port")


def _parse_folder(parts: SplitResult) -> FolderLocation:
    if parts.netloc or not parts.path.startswith("/") or parts.query:
        raise LocationInvalid("a folder store is written file:///absolute/path: three slashes, no options")
    path = unquote(parts.path)
    if ".." in path.split("/") or "\0" in path:
        raise LocationInvalid("a folder store's path may not hold '..' or a NUL")
    return FolderLocation(Path(path))


def _parse_s3(parts: SplitResult) -> S3Location:
    if "@" in parts.netloc:
        raise LocationInvalid("an S3 store's keys are given beside its URL, never in it")
    if not parts.netloc or not is_name(parts.netloc):
        raise LocationInvalid("an S3 store is written s3://bucket/prefix: the bucket is missing or wrong")
    prefix = parts.path.strip("/")
    if prefix and not is_name(prefix):
        raise LocationInvalid(f"{prefix!r} cannot be the prefix of a store")
    options = _options(parts.query)
    return S3Location(
        parts.netloc,
        f"{prefix}/" if prefix else "",
        _check_endpoint(options.pop("endpoint", None)),
        _check_region(options.pop("region", REGION_DEFAULT)),
        options.pop("ca_file", None),
    )


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    unknown = sorted(options.keys() - {"endpoint", "region", "ca_file"})
    if unknown or len(pairs) != len(options) or not all(options.values()):
        raise LocationInvalid(
            f"options of an S3 store are endpoint, region and ca_file, each once and not empty: {unknown or query!r}"
        )
    return options


def _check_region(region: str) -> str:
    if not _REGION.fullmatch(region):
        raise LocationInvalid(f"{region!r} is no S3 region: it has letters, digits and '-', as us-east-1")
    return region


def _check_endpoint(endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint)
        usable = parts.port != 0  # raises where it is no number, or none that a port can have
    except ValueError:
        usable = False
    printable = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    if (
        not (usable and printable and parts.scheme in ("http", "https") and parts.hostname)
        or "@" in parts.netloc
        or parts.query
    ):
        raise LocationInvalid(f"{endpoint!r}: an endpoint is http://host:port or https://host:port")
    return endpoint.rstrip("/")
