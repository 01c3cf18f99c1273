"""What an opening asks of the store for points that it is done with: they grow in number for ever, and hardly one of them lies there."""

from collections.abc import Callable
from typing import cast
from uuid import UUID

import pytest

from seawall.controller.forgetting.replay import replay_tombstones
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.repositories.given_up import GivenUp
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import SystemClock
from seawall.repository.forgetting.leaders import NOBODY
from seawall.repository.forgetting.lying import lying_manifests
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import PointName, manifest_name, tombstone_name
from seawall.repository.repository import OpenRepository
from seawall.repository.store.count import CountingStore
from seawall.repository.store.memory import MemoryStore
from support.other_database import Leading, OtherDatabase
from support.rescue_world import MIB, VM, RescueWorld, patterned, point_id

VMS = [UUID(int=1_000 + number) for number in range(5)]
POINTS = [PointName("default", str(VMS[number % len(VMS)]), point_id(100 + number)) for number in range(200)]


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture
def repository(store: CountingStore) -> OpenRepository:
    world = RescueWorld(store)
    world.back_up(1, {"vda": patterned(MIB, 1)})
    for name in POINTS:
        store.put(tombstone_name(*parts(name)), b"its signature is read only where its manifest lies there")
    return world.repository


def parts(name: PointName) -> tuple[str, str, str]:
    return name.tenant, name.vm_id, name.point_id


def asked(store: CountingStore, work: Callable[[], object]) -> int:
    """Requests of all kinds."""
    before = sum(count.requests for count in store.counts().values())
    work()
    return sum(count.requests for count in store.counts().values()) - before


@pytest.mark.parametrize(("listed", "most"), [(None, 1 + len(VMS)), (frozenset[PointName](), 1)], ids=["now", "before"])
def test_old_tombstones(
    store: CountingStore, repository: OpenRepository, listed: frozenset[PointName] | None, most: int
) -> None:
    database, lease = cast(Database, OtherDatabase()), cast(LeaderLease, Leading())
    given = database, lease, SystemClock(), repository, "main", NOBODY, Standing(), listed
    assert asked(store, lambda: replay_tombstones(*given)) == most


def test_what_is_left_of_one_is_found_among_many(store: CountingStore, repository: OpenRepository) -> None:
    world_point = PointName("default", str(VM), point_id(1))
    left = store.get(manifest_name(*parts(world_point)))
    store.put(manifest_name(*parts(POINTS[77])), left)
    found = lying_manifests(store, [world_point, *POINTS])
    assert found == {world_point, POINTS[77]} == lying_manifests(store, [world_point, *POINTS], found)
    assert lying_manifests(store, POINTS[:1]) == lying_manifests(store, []) == frozenset()


def test_points_that_were_given_up(store: CountingStore, repository: OpenRepository) -> None:
    database, lease = cast(Database, OtherDatabase([failed(name) for name in POINTS])), cast(LeaderLease, Leading())
    given_up = GivenUp(database, lease, SystemClock())
    assert asked(store, lambda: given_up.take_back(repository, "main")) == len(VMS)
    assert asked(store, lambda: given_up.take_back(repository, "main", frozenset())) == 0


def failed(name: PointName) -> Point:
    state, owner = PointState.FAILED, ("main", "attempt", "host", "")
    return Point(name.point_id, name.vm_id, "web", name.tenant, *owner, state, 1, 1, True, (), (), bytes(32), 1)
