"""Store URLs: what an operator may write, and what is said when it is wrong."""

from pathlib import Path

import pytest

from seawall.repository.errors import StoreRefused
from seawall.repository.store.locate import create_place, open_store
from seawall.repository.store.location import (
    FolderLocation,
    LocationInvalid,
    S3Credentials,
    S3Location,
    parse_location,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///srv/backup", FolderLocation(Path("/srv/backup"))),
        ("file:///srv/with%20space", FolderLocation(Path("/srv/with space"))),
        ("s3://vault", S3Location("vault")),
        ("s3://vault/", S3Location("vault")),
        ("s3://vault/a/b/?region=eu-west-1", S3Location("vault", "a/b/", None, "eu-west-1")),
        ("s3://vault/a?endpoint=http://10.77.0.1:8333/", S3Location("vault", "a/", "http://10.77.0.1:8333")),
        (
            "s3://vault?endpoint=https://s3.site:443&region=r&ca_file=/etc/ca.pem",
            S3Location("vault", "", "https://s3.site:443", "r", "/etc/ca.pem"),
        ),
    ],
)
def test_urls_mean_places(url: str, expected: object) -> None:
    assert parse_location(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "/srv/backup", "vault", "http://host/vault", "memory://x"),
        *("file://srv/backup", "file:srv", "file:///srv/../etc", "file:///srv?x=y", "file:///srv#x"),
        *("s3://", "s3:///x", "s3://key:secret@vault", "s3://vault/../x", "s3://vault/a//b"),
        *("s3://vault?endpoint=ftp://h", "s3://vault?endpoint=host:80", "s3://vault?endpoint=http://a:b@h"),
        *("s3://vault?regoin=x", "s3://vault?region=", "s3://vault?region=a&region=b", "s3://[vault"),
    ],
)
def test_wrong_urls_are_refused_with_a_reason(url: str) -> None:
    with pytest.raises(LocationInvalid) as caught:
        parse_location(url)
    assert len(str(caught.value)) > 20


def test_the_url_of_a_place_means_the_same_place() -> None:
    location = S3Location("vault", "a/b/", "https://s3.site:443", "r", "/etc/ca files/ca.pem")
    assert parse_location(location.url) == location


def test_keys_never_show() -> None:
    keys = S3Credentials("AKIA", "very secret", "session secret")
    assert "***" in repr(keys) and "secret'" not in repr(keys)
    assert "very" not in f"{keys}" and "session" not in f"{keys}"


def test_a_bucket_without_keys_is_refused() -> None:
    for call in (open_store, create_place):
        with pytest.raises(StoreRefused, match="access key"):
            call("s3://vault")


def test_a_folder_is_made_and_opened(tmp_path: Path) -> None:
    url = (tmp_path / "new" / "store").as_uri()
    for _ in range(2):
        create_place(url)
    store = open_store(url)
    store.put("v1/x", b"x")
    assert store.url == url
    assert (tmp_path / "new" / "store" / "v1" / "x").read_bytes() == b"x"
