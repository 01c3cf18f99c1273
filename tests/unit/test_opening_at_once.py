"""What an opening reads of points that an older database forgot is read many at once: a night of a large fleet is tens of thousands."""

import threading
from typing import cast

from seawall.controller.forgetting.replay import replay_tombstones
from seawall.controller.repositories.adopting import unknown_points
from seawall.controller.repositories.opening_mark import look_before
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import SystemClock
from seawall.repository.forgetting.leaders import NOBODY
from seawall.repository.format.layout import MANIFESTS_PREFIX, TOMBSTONES_PREFIX, parse_point_name, tombstone_name
from seawall.repository.store.memory import MemoryStore
from support.other_database import Leading, OtherDatabase
from support.rescue_world import MIB, RescueWorld, patterned

POINTS = 4
PATIENCE_SECONDS = 5.0


class InCompany(MemoryStore):
    """Its first reads below `watched` wait for one another: `met` is set where two are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = "nothing"
        self.met = threading.Event()
        self._under_way = 0
        self._lock = threading.Lock()

    def _in_company(self, name: str) -> None:
        if not name.startswith(self.watched):
            return
        with self._lock:
            self._under_way += 1
            if self._under_way > 1:
                self.met.set()
        self.met.wait(PATIENCE_SECONDS)
        with self._lock:
            self._under_way -= 1

    def get(self, name: str) -> bytes:
        self._in_company(name)
        return super().get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self._in_company(name)
        return super().get_range(name, offset, length)


def a_fleet() -> tuple[InCompany, RescueWorld]:
    store = InCompany()
    world = RescueWorld(store)
    for number in range(1, POINTS + 1):
        world.back_up(number, {"vda": patterned(MIB, number)})
    return store, world


def test_points_that_the_database_lacks() -> None:
    store, world = a_fleet()
    before = look_before(world.repository)
    store.watched = MANIFESTS_PREFIX
    found = unknown_points(cast(Database, OtherDatabase()), world.repository, "main", {}, before)
    assert len(found) == POINTS
    assert [each.statement.published_us for each in found] == sorted(each.statement.published_us for each in found)
    assert store.met.is_set()


def test_tombstones_of_what_is_left() -> None:
    store, world = a_fleet()
    names = [name for info in store.list(MANIFESTS_PREFIX) if (name := parse_point_name(info.name)) is not None]
    for name in names:
        store.put(tombstone_name(name.tenant, name.vm_id, name.point_id), world.tombstone(name.point_id))
    before = look_before(world.repository)
    store.watched = TOMBSTONES_PREFIX
    database, lease = cast(Database, OtherDatabase()), cast(LeaderLease, Leading())
    replay_tombstones(
        database, lease, SystemClock(), world.repository, "main", NOBODY, before.standing, before.manifests
    )
    assert list(store.list(MANIFESTS_PREFIX)) == []
    assert store.met.is_set()
