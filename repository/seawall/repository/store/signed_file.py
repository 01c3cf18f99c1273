"""`file://` URLs of a folder store, held to the rules that a server holds `https://` ones to. Called by the presigned client.

Nothing but this code keeps them: a folder has no walls.
"""

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from seawall.repository.clock import Clock
from seawall.repository.errors import BucketMissing, ObjectMissing, StoreRefused
from seawall.repository.store.files import our_errors, read_file, read_suffix, write_file
from seawall.repository.store.port import SignedPut
from seawall.repository.store.signed_headers import ANY_CONTENT, md5_of, put_headers

_FILE = re.compile(r"/(?:[^\0]*/)?[^/\0]+")
_EXPIRY = re.compile(r"[0-9]{1,18}")


class SignedFiles:
    """Reads and create-only writes of single files. The folder of the file must exist: the store made it when it signed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def put(self, target: SignedPut, body: bytes | memoryview) -> None:
        """Raises ObjectExists, BucketMissing, StoreRefused, StoreUnavailable."""
        path = self._path(target.url)
        md5 = md5_of(body) if "md5" in parse_qs(urlsplit(target.url).query) else ANY_CONTENT
        if dict(target.headers) != put_headers(memoryview(body).nbytes, md5):
            raise StoreRefused(f"{path}: the body is not what the signed headers say")
        try:
            with our_errors(str(path)):
                write_file(path, body, create_only=True)
        except ObjectMissing as error:
            raise BucketMissing(f"the folder {path.parent} is not here: is the store mounted?") from error

    def get(self, url: str, offset: int = 0, length: int | None = None) -> bytes:
        """Raises ObjectMissing, StoreRefused, StoreUnavailable."""
        path = self._path(url)
        with our_errors(str(path)):
            return read_file(path, offset, length)

    def get_suffix(self, url: str, length: int) -> bytes:
        """Raises ObjectMissing, StoreRefused, StoreUnavailable."""
        path = self._path(url)
        with our_errors(str(path)):
            return read_suffix(path, length)

    def _path(self, url: str) -> Path:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise StoreRefused("what should be a URL that a folder store signed is no URL") from error
        path = unquote(parts.path)
        expiry = parse_qs(parts.query).get("expires_us", [""])[0]
        if parts.netloc or not _FILE.fullmatch(path) or ".." in path.split("/") or not _EXPIRY.fullmatch(expiry):
            raise StoreRefused(f"{parts.path!r} is not a URL that a folder store signed")
        if int(expiry) <= self._clock.now_us():
            raise StoreRefused(f"{path}: the URL has expired")
        return Path(path)
