"""From a store's URL to the store: called by composition roots only."""

from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import StoreRefused
from seawall.repository.store.folder import FolderStore, create_folder
from seawall.repository.store.location import (
    FolderLocation,
    LocationInvalid,
    S3Credentials,
    S3Location,
    parse_location,
)
from seawall.repository.store.port import Store

__all__ = ["LocationInvalid", "S3Credentials", "create_place", "open_store"]


def open_store(url: str, credentials: S3Credentials | None = None, clock: Clock | None = None) -> Store:
    """The bare adapter, without decorators; it asks the store nothing yet. Raises LocationInvalid, StoreRefused (no credentials)."""
    location = parse_location(url)
    clock = clock or SystemClock()
    if isinstance(location, FolderLocation):
        return FolderStore(location.path, clock)
    # boto3 is installed only where storage keys are.
    from seawall.repository.store.s3 import S3Store

    return S3Store(location, _need(credentials, location), clock)


def create_place(url: str, credentials: S3Credentials | None = None) -> None:
    """Makes the bucket or folder itself. One that is there, and ours to use, is success. Raises StoreRefused, StoreUnavailable."""
    location = parse_location(url)
    if isinstance(location, FolderLocation):
        create_folder(location.path)
        return
    from seawall.repository.store.s3 import create_bucket

    create_bucket(location, _need(credentials, location))


def _need(credentials: S3Credentials | None, location: S3Location) -> S3Credentials:
    if credentials is None:
        raise StoreRefused(f"{location.url} needs an access key and a secret key")
    return credentials
