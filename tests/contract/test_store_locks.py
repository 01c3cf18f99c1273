"""Object Lock on a real server, and the keeper of locks over it and over one in memory."""

import secrets
from dataclasses import dataclass, field, replace

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.clock import SystemClock
from seawall.repository.collecting.locking import LockKeeper, Locks
from seawall.repository.collecting.plan import Report
from seawall.repository.errors import ObjectMissing, StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.s3 import S3Store
from support.collection_world import TENANT, CollectionWorld
from support.memory_disks import ModelDisk

DAY_US = 86_400_000_000


@pytest.fixture
def locked_bucket(s3_server: SeaweedFS, s3_credentials: S3Credentials) -> S3Store:
    """It locks what is put into it for two days."""
    bucket = f"locked-{secrets.token_hex(4)}"
    store = open_store(f"s3://{bucket}?endpoint={s3_server.endpoint}", s3_credentials)
    assert isinstance(store, S3Store)
    store._client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}}
    store._client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)  # type: ignore[arg-type]
    return store


def test_a_lock_is_read_and_extended_and_keeps_the_bytes(locked_bucket: S3Store) -> None:
    store, now_us = locked_bucket, SystemClock().now_us()
    assert isinstance(store, Locks)
    assert store.lock_period_us() == 2 * DAY_US
    store.put("v1/config", b"kept")
    assert now_us + DAY_US < store.locked_until_us("v1/config") <= now_us + 3 * DAY_US
    store.lock_until("v1/config", now_us + 9 * DAY_US)
    assert abs(store.locked_until_us("v1/config") - (now_us + 9 * DAY_US)) < 2_000_000
    (version,) = store._client.list_object_versions(Bucket=store._location.bucket)["Versions"]
    with pytest.raises(Exception, match=r"(?i)denied|lock|retention"):
        store._client.delete_object(Bucket=store._location.bucket, Key="v1/config", VersionId=version["VersionId"])
    with pytest.raises(ObjectMissing):
        store.locked_until_us("v1/none")


def test_a_bucket_without_locks_says_so(s3_store: S3Store) -> None:
    assert s3_store.lock_period_us() == 0
    s3_store.put("v1/config", b"x")
    assert s3_store.locked_until_us("v1/config") == 0


@dataclass
class MemoryLocks:
    """`refused`: the keys may not lock."""

    period_us: int
    until: dict[str, int] = field(default_factory=dict)
    refused: bool = False

    def lock_period_us(self) -> int:
        return self.period_us

    def locked_until_us(self, name: str) -> int:
        return self.until.get(name, 0)

    def lock_until(self, name: str, until_us: int) -> None:
        if self.refused:
            raise StoreRefused("not allowed")
        assert until_us > self.until.get(name, 0)
        self.until[name] = until_us


def kept(world: CollectionWorld, locks: MemoryLocks) -> Report:
    report = Report(plan_only=False)
    LockKeeper(world.store, locks, world.ledger, world.clock, report).keep()
    return report


@pytest.fixture
def world() -> CollectionWorld:
    world, model = CollectionWorld(), ModelDisk(1 << 18)
    model.write(0, b"a" * 100_000)
    world.add_point(1, model)
    return world


def test_what_points_need_is_locked_again_when_half_of_its_time_is_over(world: CollectionWorld) -> None:
    locks = MemoryLocks(10 * DAY_US)
    first = kept(world, locks)
    packs = set(world.pack_names())
    assert packs < set(locks.until) and first.locked.packs == len(locks.until)
    assert {name.split("/")[1] for name in locks.until} >= {"p", "m", "r", "keys", "config"}
    world.clock.advance(4 * 86_400)
    assert kept(world, locks).locked.packs == 0
    world.clock.advance(2 * 86_400)
    assert kept(world, locks).locked.packs == first.locked.packs


def test_what_no_point_needs_runs_out(world: CollectionWorld) -> None:
    (point,) = world.points
    world.delete_point(point)
    world.ledger.grace_us = 1 << 60
    world.collect()  # all is condemned, nothing is gone yet
    locks = MemoryLocks(10 * DAY_US)
    kept(world, locks)
    assert not [name for name in locks.until if name.startswith("v1/p/")]


def test_keys_that_may_not_lock_are_reported_and_nothing_stops(world: CollectionWorld) -> None:
    report = kept(world, MemoryLocks(DAY_US, refused=True))
    assert report.locked.packs == 0 and report.kept_back_count == 3
    assert "lock was not extended" in report.kept_back[0]


def test_keys_that_may_not_ask_for_the_buckets_lock_end_no_collection(world: CollectionWorld) -> None:
    class Hidden(MemoryLocks):
        def lock_period_us(self) -> int:
            raise StoreRefused("403 AccessDenied")

    collection = replace(world.collection(), locks=Hidden(DAY_US))
    report = collection.execute()
    assert [one for one in report.kept_back if "Object Lock" in one and "403" in one]


def test_a_bucket_without_locks_is_asked_once(world: CollectionWorld) -> None:
    locks = MemoryLocks(0)
    assert kept(world, locks).locked.packs == 0
    assert locks.until == {}
    assert pack_name(TENANT, bytes(16), 0) not in locks.until
