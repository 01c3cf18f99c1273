"""A folder store on a file system that is full: said as what it is, nothing half-written stays, and room that is made is used."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.repository.errors import StoreFull
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.presigned import PresignedClient

BODY = bytes(100_000)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB. Needs root."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=True)
    try:
        (place / "store").mkdir()
        yield place / "store"
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_puts_into_a_full_folder(small: Path) -> None:
    store = open_store(f"file://{small}")
    assert isinstance(store, FolderStore)
    stored = []
    with pytest.raises(StoreFull, match="No space left"):
        for number in range(10):
            store.put(f"v1/{number}", BODY)
            stored.append(f"v1/{number}")
    assert 2 <= len(stored) <= 5
    assert sorted(info.name for info in store.list("")) == stored
    assert all(store.get(name) == BODY for name in stored)
    assert list(small.rglob(".put-*")) == []
    store.delete(stored[0])
    store.put("v1/after", BODY)
    assert store.get("v1/after") == BODY


def test_signed_puts_into_a_full_folder(small: Path) -> None:
    store = open_store(f"file://{small}")
    with PresignedClient() as client, pytest.raises(StoreFull):
        for number in range(10):
            target = store.sign_put(f"v1/{number}", len(BODY), hashlib.md5(BODY).digest(), expires_seconds=60)
            client.put(target, BODY)
    assert len(list(store.list(""))) >= 2
