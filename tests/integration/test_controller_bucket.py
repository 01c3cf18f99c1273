"""The controller and a real S3 server: adding a bucket, a backup into it, and buckets that are not there."""

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seawall.api.v1 import operator_pb2
from seawall.repository.store.location import S3Credentials
from support.controller_agent import enrolled
from support.controller_application import configured, free_port, running
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
    assert isinstance(caught.value, grpc.Call)
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert (info.reason, caught.value.code()) == (reason, grpc.StatusCode.FAILED_PRECONDITION)


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
