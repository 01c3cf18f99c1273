"""The controller and a real S3 server: adding a bucket, a backup into it, and buckets that are not there."""

from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import operator_pb2
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.location import FolderLocation, S3Credentials, parse_location
from seawall.repository.store.port import Store
from support.controller_agent import enrolled
from support.controller_application import RECOVERY_KEY, configured, free_port, reason_of, running
from support.memory_disks import ModelDisk

SIZE = 1024 * 1024


def test_a_backup_into_a_bucket_and_keys_that_stay_secret(
    tmp_path: Path, s3_url: str, s3_credentials: S3Credentials
) -> None:
    config = configured(tmp_path / "state")
    disk = ModelDisk(SIZE)
    disk.write(4096, b"data" * 9000)
    with running(config) as controller:
        added = controller.add_bucket(s3_url, s3_credentials.access_key, s3_credentials.secret_key)
        assert added.capabilities.conditional_put
        assert {wrapper.name for wrapper in added.wrappers} == {"controller", "recovery"}
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        run = controller.start_backup("db-1", repository="main")
        assert alpha.backup({"vda": disk.source()}).point_id == run.run_id
    # The credentials come from the sealed row now, the packs' tables from the bucket.
    for file in (config.paths.index_of(added.repository_id)).iterdir():
        file.unlink()
    with running(config) as controller:
        alpha.hello()
        controller.start_backup("db-1")
        puts = len(alpha.puts)
        alpha.backup({"vda": disk.source()})
        names = [url.partition("?")[0] for url in alpha.puts[puts:] if "/v1/p/" in url]
        manifests = {name[:-2] for name in names if name.endswith(".1")}
        assert {name[:-2] for name in names} == manifests, "the rebuilt index knows every chunk of data"
        assert (
            controller.backups.GetRepository(
                operator_pb2.GetRepositoryRequest(repository="main")
            ).repository.point_count
            == 2
        )
    state = b"".join(path.read_bytes() for path in config.state_dir.rglob("*") if path.is_file())
    assert s3_credentials.secret_key.encode() not in state


@pytest.mark.parametrize(("change", "reason"), [("keys", "BUCKET_REFUSED"), ("server", "BUCKET_UNREACHABLE")])
def test_buckets_that_cannot_be_used(
    tmp_path: Path, s3_url: str, s3_credentials: S3Credentials, change: str, reason: str
) -> None:
    url, secret = s3_url, s3_credentials.secret_key
    if change == "keys":
        secret = "wrong" * 6
    if change == "server":
        url = f"s3://tests/x?endpoint=http://127.0.0.1:{free_port()}"
    with running(configured(tmp_path / "state")) as controller, pytest.raises(grpc.RpcError) as caught:
        controller.add_bucket(url, s3_credentials.access_key, secret)
    assert reason_of(caught.value) == reason


def test_it_starts_although_a_bucket_is_gone(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        controller.start_backup("db-1")
    (tmp_path / "bucket").rename(tmp_path / "away")
    with running(config) as controller:
        assert controller.backups.GetStatus(operator_pb2.GetStatusRequest()).hosts_total == 1
        alpha.hello()
        assignment = alpha.next_assignment()
        with pytest.raises(grpc.RpcError):
            alpha.accept(assignment.attempt)
        (tmp_path / "away").rename(tmp_path / "bucket")
        assert alpha.accept(assignment.attempt).backup.tenant == "default"


class CarelessFolder(FolderStore):
    """A store that accepts conditions and ignores them, as some servers do."""

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        super().put(name, body, create_only=False)


def careless(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
    location = parse_location(url)
    assert isinstance(location, FolderLocation)
    return CarelessFolder(location.path, clock or SystemClock())


def test_a_store_that_overwrites_is_refused_unless_accepted(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    request = operator_pb2.AddRepositoryRequest(
        request_id="1", name="main", url=(tmp_path / "bucket").as_uri(), recovery_public_key=RECOVERY_KEY
    )
    with running(configured(tmp_path / "state"), open_store=careless) as controller:
        with pytest.raises(grpc.RpcError) as caught:
            controller.backups.AddRepository(request)
        assert reason_of(caught.value) == "STORE_UNSAFE"
        request.accept_unsafe_store = True
        added = controller.backups.AddRepository(request).repository
        assert not added.capabilities.conditional_put
        assert controller.backups.AddRepository(request).repository == added, "the same request: the same answer"
