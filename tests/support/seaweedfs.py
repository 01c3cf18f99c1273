"""A real S3 server for the tests: one SeaweedFS per session, started by the first test that asks, and a prefix of its own per test."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.free_ports import free_ports
from deploy.s3.seaweedfs import PORTS, SeaweedFailed, SeaweedFS

from seawall.repository.store.locate import create_place, open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from seawall.repository.store.s3 import S3Store

_ADDRESS = "127.0.0.1"
_TRIES = 3


@pytest.fixture(scope="session")
def s3_credentials() -> S3Credentials:
    return S3Credentials("tester", secrets.token_hex(16))


@pytest.fixture(scope="session")
def s3_server(s3_credentials: S3Credentials) -> Iterator[SeaweedFS]:
    """The server, with the bucket "tests" in it. It is killed with the tests' process, whatever ends that."""
    with tempfile.TemporaryDirectory(prefix="seawall-s3-") as directory:
        server = _start(Path(directory), s3_credentials)
        try:
            create_place(f"s3://tests?endpoint={server.endpoint}", s3_credentials)
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def s3_bucket(s3_server: SeaweedFS, s3_credentials: S3Credentials) -> S3Store:
    """All of the bucket: for making the store of each test."""
    store = open_store(f"s3://tests?endpoint={s3_server.endpoint}", s3_credentials)
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def s3_store(s3_bucket: S3Store) -> Store:
    """An empty place of this test's own."""
    return s3_bucket.below(secrets.token_hex(6))


@pytest.fixture
def s3_url(s3_store: Store) -> str:
    """The URL of that place, as an operator writes it."""
    return s3_store.url


def _start(directory: Path, credentials: S3Credentials) -> SeaweedFS:
    """Others on this machine take ports too: between choosing and using them, one may be gone."""
    for attempt in range(_TRIES):
        place = directory / str(attempt)
        server = SeaweedFS(place, _ADDRESS, free_ports(PORTS), credentials.access_key, credentials.secret_key)
        try:
            server.start()
        except SeaweedFailed:
            if attempt == _TRIES - 1:
                raise
        else:
            return server
    raise AssertionError("unreachable")
