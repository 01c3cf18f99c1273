"""Adding a repository: a controller that dies at any write finishes it later; nothing that lies in the bucket is believed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seawall.controller.config import ControllerConfig
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import AlreadyExists, ControllerError, FailedPrecondition, InvalidArgument, Unavailable
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.repositories.add import Addition, RepositoryAdder
from seawall.controller.repositories.catalogue import Keys, OpenStore, RepositoryCatalogue
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import SecretBox
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.crypto.keys import new_secret, new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import StoreRefused
from seawall.repository.format.keyfile import RECOVERY_WRAPPER
from seawall.repository.repository import create_repository, open_repository
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import FolderLocation, S3Credentials, parse_location
from seawall.repository.store.port import Store
from support.controller_application import BRISK, configured

RECOVERY = new_secret()
OTHER = new_secret()
WRITES = 5  # two key objects, config and its two copies


class Died(BaseException):
    """The process ends here."""


class DyingFolder(FolderStore):
    """Dies before its n-th write of something that stays, or refuses it."""

    left = 0
    death: BaseException

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        if name.startswith(("v1/keys/", "v1/config")):
            if self.left == 0:
                raise self.death
            self.left -= 1
        super().put(name, body, create_only=create_only)


def dying_after(writes: int, death: BaseException | None = None) -> OpenStore:
    def opened(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
        location = parse_location(url)
        assert isinstance(location, FolderLocation)
        store = DyingFolder(location.path, clock or SystemClock())
        store.left, store.death = writes, death or Died()
        return store

    return opened


@contextmanager
def adder(config: ControllerConfig, opened: OpenStore = open_store) -> Iterator[RepositoryAdder]:
    clock = SteadyClock(SystemClock())
    database = SqliteDatabase(config.paths.database, config.paths.lock)
    box = SecretBox.from_file(config.paths.kek)
    keys = Keys(load_wrapper_key(config.paths, box), box)
    lease = LeaderLease(database, clock, BRISK)
    try:
        yield RepositoryAdder(database, RepositoryCatalogue(database, keys, config.paths, lease, clock, opened), clock)
    finally:
        database.close()


def asked(bucket: Path, recovery: bytes = RECOVERY, name: str = "main", chunk_nominal_bytes: int = 0) -> Addition:
    return Addition(name, bucket.as_uri(), None, chunk_nominal_bytes, public_key_of(recovery), False)


def refusal(one: RepositoryAdder, addition: Addition, kind: type[ControllerError]) -> ControllerError:
    with pytest.raises(kind) as caught:
        one.add(addition)
    return caught.value


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    made = tmp_path / "bucket"
    made.mkdir()
    return made


@pytest.fixture
def config(tmp_path: Path) -> ControllerConfig:
    return configured(tmp_path / "state")


@pytest.mark.parametrize("writes", range(WRITES + 1))
def test_whatever_was_written_the_same_request_finishes_it(config: ControllerConfig, bucket: Path, writes: int) -> None:
    if writes < WRITES:
        with adder(config, dying_after(writes)) as one, pytest.raises(Died):
            one.add(asked(bucket))
    with adder(config) as one:
        added = one.add(asked(bucket))
        assert one.add(asked(bucket)) == added, "asked once more: the same"
    left = open_repository(FolderStore(bucket), RECOVERY_WRAPPER, RECOVERY)
    assert left.config.lineage_id.hex() == added.lineage_hex
    database = b"".join(path.read_bytes() for path in config.state_dir.glob("controller.sqlite*"))
    assert left.secrets.repository_secret_key not in database
    assert left.secrets.repository_secret_key.hex().encode() not in database


def test_a_refusal_before_the_first_object_leaves_nothing_begun(config: ControllerConfig, bucket: Path) -> None:
    with adder(config, dying_after(0, StoreRefused("no"))) as one:
        assert refusal(one, asked(bucket), FailedPrecondition).reason == "BUCKET_REFUSED"
    with adder(config) as one:
        assert one.add(asked(bucket, OTHER)).name == "main"


def test_a_refusal_later_says_to_keep_the_key(config: ControllerConfig, bucket: Path) -> None:
    with adder(config, dying_after(1, StoreRefused("no"))) as one:
        refused = refusal(one, asked(bucket), Unavailable)
        assert (refused.reason, "with the same recovery key" in str(refused)) == ("BUCKET_REFUSED", True)
    with adder(config) as one:
        assert one.add(asked(bucket)).name == "main"


def test_another_recovery_key_is_told_to_give_the_first_one(config: ControllerConfig, bucket: Path) -> None:
    with adder(config, dying_after(1)) as one, pytest.raises(Died):
        one.add(asked(bucket))
    with adder(config) as one:
        refused = refusal(one, asked(bucket, OTHER), InvalidArgument)
        assert refused.reason == "BAD_RECOVERY_KEY"
        assert "give that first key again" in str(refused)
        assert refusal(one, asked(bucket, chunk_nominal_bytes=8192), InvalidArgument).reason == "BAD_CHUNK_SIZE"
        assert one.add(asked(bucket)).name == "main"


def test_a_repository_that_lies_there_is_not_adopted_even_if_our_key_opens_it(
    config: ControllerConfig, bucket: Path
) -> None:
    """Whoever writes to the bucket can seal secrets of his own choice to our public key."""
    with adder(config) as one:
        ours = public_key_of(one._catalogue.keys.wrapper_secret.reveal())
        create_repository(
            FolderStore(bucket),
            lineage_id=uuid.uuid4().bytes,
            chunk_nominal_bytes=65536,
            recipients={"controller": ours, RECOVERY_WRAPPER: public_key_of(RECOVERY)},
            secrets=new_secrets(),
        )
        before = sorted(path.name for path in bucket.rglob("*"))
        refused = refusal(one, asked(bucket), FailedPrecondition)
        assert refused.reason == "FOREIGN_REPOSITORY"
        assert "Choose an empty bucket" in str(refused)
        assert sorted(path.name for path in bucket.rglob("*")) == before, "nothing was written"


def test_a_foreign_config_in_place_of_the_one_under_way_is_refused(config: ControllerConfig, bucket: Path) -> None:
    with adder(config, dying_after(2)) as one, pytest.raises(Died):
        one.add(asked(bucket))
    for path in (bucket / "v1" / "keys").rglob("*.*"):
        path.unlink()
    recipients = {"controller": public_key_of(OTHER), RECOVERY_WRAPPER: public_key_of(RECOVERY)}
    create_repository(
        FolderStore(bucket),
        lineage_id=uuid.uuid4().bytes,
        chunk_nominal_bytes=65536,
        recipients=recipients,
        secrets=new_secrets(),
    )
    with adder(config) as one:
        assert refusal(one, asked(bucket), FailedPrecondition).reason == "FOREIGN_REPOSITORY"


def test_one_place_has_one_name(config: ControllerConfig, bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with adder(config) as one:
        one.add(asked(bucket))
        assert refusal(one, asked(bucket, name="second"), AlreadyExists).reason == "NAME_TAKEN"
        assert refusal(one, asked(tmp_path / "other", OTHER), AlreadyExists).reason == "NAME_TAKEN"
        assert refusal(one, asked(bucket, OTHER), AlreadyExists).reason == "NAME_TAKEN"
