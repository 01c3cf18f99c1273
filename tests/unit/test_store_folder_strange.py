"""What others may put into a folder store: pipes, sockets, links, names that are no text. No call waits, no strange error is raised."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.repository.errors import ObjectMissing, RepositoryError, StoreRefused
from seawall.repository.format.layout import parse_pack_name, parse_point_name
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.names import is_name
from seawall.repository.store.port import Store
from seawall.repository.store.presigned import PresignedClient


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def loop(path: Path) -> None:
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGE = (pipe, folder, bound_socket, loop, dangling, device)
READS: tuple[Callable[[Store, str], object], ...] = (
    lambda store, name: store.get(name),
    lambda store, name: store.get_range(name, 0, 10),
    lambda store, name: store.get_suffix(name, 10),
    lambda store, name: store.head(name),
)


@pytest.mark.parametrize("make", STRANGE)
@pytest.mark.timeout(30)
def test_what_is_no_file_is_no_object(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "it")
    store = FolderStore(tmp_path)
    for read in READS:
        with pytest.raises((ObjectMissing, StoreRefused), match="it"):
            read(store, "it")
    with PresignedClient() as client, pytest.raises((ObjectMissing, StoreRefused)):
        client.get(store.sign_get("it", expires_seconds=60))
    assert list(store.list("")) == []
    with pytest.raises(RepositoryError):
        store.put("it", b"content")
    store.put("beside", b"content")
    assert store.get("beside") == b"content"


BYTES = st.binary(min_size=1, max_size=40).filter(
    lambda name: not set(b"/\0") & set(name) and name not in (b".", b"..")
)


@settings(max_examples=60)
@given(st.lists(BYTES, min_size=1, max_size=4))
def test_names_that_seawall_never_wrote(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    """They are listed and nothing more: no parser takes one for an object of a repository."""
    root = tmp_path_factory.mktemp("store")
    below = root / "v1" / "m"
    below.mkdir(parents=True)
    for name in names:
        (Path(os.fsdecode(os.fsencode(below) + b"/" + name))).touch()
    store = FolderStore(root)
    strange = [info.name for info in store.list("v1/m/")]
    assert all(parse_point_name(name) is None and parse_pack_name(name) is None for name in strange)
    assert len(strange) == len({name for name in names if not name.startswith(b".")})
    for listed in strange:
        if not is_name(listed):
            with pytest.raises(StoreRefused, match="cannot name an object"):
                store.get(listed)
