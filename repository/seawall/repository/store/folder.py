"""A store in one folder that the controller and, if they use it, all agents mount. No walls: who can write here can overwrite and delete.

Objects are files of mode 0600 under their names; names with a leading dot belong to unfinished writes (`files.py`).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import BucketMissing, ObjectMissing, StoreRefused
from seawall.repository.store.files import HIDDEN, our_errors, read_file, read_suffix, sync_folder, write_file
from seawall.repository.store.names import check_length, check_name, check_prefix
from seawall.repository.store.port import ObjectInfo, SignedPut
from seawall.repository.store.signed_headers import put_headers


class FolderStore:
    """A Store. The folder must exist: an empty mount point is told from an empty repository by what lies in `v1/config`."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        if not path.is_absolute():
            raise StoreRefused(f"{path}: a folder store needs an absolute path")
        self._root = path
        self._clock = clock or SystemClock()

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        with self._errors(name):
            path = self._path(name)
            self._make_parents(path)
            if path.is_dir():
                raise StoreRefused(f"{name} in {self.url} is the beginning of other names")
            write_file(path, body, create_only=create_only)

    def get(self, name: str) -> bytes:
        with self._reading(name):
            return read_file(self._path(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        with self._reading(name):
            return read_file(self._path(name), check_length(offset), check_length(length))

    def get_suffix(self, name: str, length: int) -> bytes:
        with self._reading(name):
            return read_suffix(self._path(name), check_length(length))

    def head(self, name: str) -> ObjectInfo:
        with self._reading(name):
            status = os.stat(self._path(name))
        if not S_ISREG(status.st_mode):
            raise ObjectMissing(f"{name} is not in {self.url}")
        return _info(name, status)

    def delete(self, name: str) -> None:
        try:
            with self._reading(name):
                path = self._path(name)
                os.unlink(path)
                sync_folder(path.parent)
        except ObjectMissing:
            return

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return _Listing(self, check_prefix(prefix))

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        """The folder of the object is made here: an agent that does not mount the store finds none, and cannot write beside it."""
        with self._errors(name):
            path = self._path(name)
            self._make_parents(path)
        headers = put_headers(length, md5)
        expires_us = self._expiry_us(expires_seconds)
        bound = f"&md5={md5.hex()}" if md5 else ""
        return SignedPut(_file_url(path, expires_us) + bound, headers, expires_us)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return _file_url(self._path(name), self._expiry_us(expires_seconds))

    def remove_leftovers(self, older_than_seconds: int) -> int:
        """Removes what killed writers left, if untouched for so long; how many. Put it well above the longest write."""
        limit_us = self._clock.now_us() - older_than_seconds * 1_000_000
        self._check_root()
        removed = 0
        with our_errors(self.url):
            for folder, _, files in os.walk(self._root):
                for hidden in (Path(folder, file) for file in files if file.startswith(HIDDEN)):
                    if hidden.stat().st_mtime_ns // 1000 <= limit_us:
                        hidden.unlink(missing_ok=True)
                        removed += 1
        return removed

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _expiry_us(self, expires_seconds: int) -> int:
        return self._clock.now_us() + expires_seconds * 1_000_000

    def _check_root(self) -> None:
        with our_errors(self.url):
            if not self._root.is_dir():
                what = "is no folder" if self._root.exists() else "does not exist: is it mounted?"
                raise BucketMissing(f"the folder {self._root} {what}")

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            with our_errors(f"{name} in {self.url}"):
                yield
        except ObjectMissing:
            self._check_root()
            raise

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """As `_errors`; a folder of that name, or a file where a folder would be, is no object."""
        try:
            with self._errors(name):
                try:
                    yield
                except (IsADirectoryError, NotADirectoryError) as error:
                    raise FileNotFoundError(2, "no object") from error
        except StoreRefused:
            self._check_root()
            raise

    def _make_parents(self, path: Path) -> None:
        """Makes the folders between root and file, never the root: that is the mount point of a store that may not be mounted."""
        self._check_root()
        parent = self._root
        for segment in path.relative_to(self._root).parts[:-1]:
            folder = parent / segment
            if not folder.is_dir():
                try:
                    folder.mkdir(mode=0o700)
                except FileExistsError:
                    # Another writer was faster; or a file is there, and the next step says so.
                    pass
                sync_folder(parent)
            parent = folder

    def entries(self, below: str) -> Sequence[os.DirEntry[str]]:
        """What lies directly in one folder of the store; nothing where the folder is gone. For the listing."""
        self._check_root()
        try:
            with self._reading(below or "."), os.scandir(self._root / below) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except ObjectMissing:
            return []


class _Listing(Iterator[ObjectInfo]):
    """The objects below a prefix, sorted by name. A folder that could not be read stays on the stack: the next `next` tries again."""

    def __init__(self, store: FolderStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        # The next name last; a folder ends with "/", the root is "".
        beginning = prefix.rpartition("/")[0]
        self._stack: list[tuple[str, os.DirEntry[str] | None]] = [(f"{beginning}/" if beginning else "", None)]

    def __next__(self) -> ObjectInfo:
        while self._stack:
            name, entry = self._stack[-1]
            if entry is None or name.endswith("/"):
                found = sorted(self._below(name), reverse=True, key=lambda pair: pair[0])
                self._stack.pop()
                self._stack.extend(found)
                continue
            info = _stat(name, entry)
            self._stack.pop()
            if info is not None:
                return info
        raise StopIteration

    def _below(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        for entry in self._store.entries(folder.removesuffix("/")):
            name = f"{folder}{entry.name}" + "/" * entry.is_dir(follow_symlinks=False)
            if name.startswith(self._prefix):
                yield name, entry


def _stat(name: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
    """None for what is no object: deleted since it was listed, a symbolic link, a socket."""
    try:
        with our_errors(name):
            status = entry.stat(follow_symlinks=False)
    except ObjectMissing:
        return None
    return _info(name, status) if S_ISREG(status.st_mode) else None


def create_folder(path: Path) -> None:
    """Makes the folder of a new store, mode 0700. One that is there is success."""
    with our_errors(str(path)):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _info(name: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(name, status.st_size, status.st_mtime_ns // 1000)


def _file_url(path: Path, expires_us: int) -> str:
    return f"file://{quote(str(path))}?expires_us={expires_us}"
