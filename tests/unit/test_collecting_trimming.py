"""Condemn logs and announcements of leaders go when nobody can need them any more, and never before."""

import random
from dataclasses import replace

import pytest

from seawall.repository.collecting.plan import CollectSettings
from seawall.repository.collecting.port import PackStanding
from seawall.repository.collecting.trimming import trimmed_to
from seawall.repository.forgetting.leaders import newest_leader
from seawall.repository.format.layout import CONDEMNED_PREFIX, EPOCHS_PREFIX, TRIMMED_PREFIX, epoch_name
from support.collection_ledger_memory import HOLDER
from support.collection_world import CollectionWorld
from support.memory_disks import ModelDisk

HORIZON_SECONDS = 90 * 86_400
OLD = "00000000-0000-4000-8000-00000000000b"


class Stopped(Exception):
    """The process ended here."""


def names(world: CollectionWorld, prefix: str) -> list[str]:
    return sorted(info.name for info in world.store.list(prefix))


def aged(world: CollectionWorld, seconds: float) -> None:
    world.clock.advance(seconds)
    world.ledger.now_us = world.clock.now_us()


def collected_once() -> CollectionWorld:
    """Something was deleted and something compacted; the logs lie there."""
    world, model, rng = CollectionWorld(), ModelDisk(1 << 20), random.Random(1)
    model.write(0, rng.randbytes(600_000))
    first = world.add_point(1, model)
    model.write(100_000, rng.randbytes(400_000))
    world.add_point(2, model, first)
    world.delete_point(first)
    world.collect()
    assert names(world, CONDEMNED_PREFIX)
    return world


@pytest.fixture
def world() -> CollectionWorld:
    return collected_once()


def test_logs_stay_for_the_horizon_and_then_go(world: CollectionWorld) -> None:
    logs = names(world, CONDEMNED_PREFIX)
    aged(world, HORIZON_SECONDS - 10)
    assert world.collect().trimmed.packs == 0
    assert names(world, CONDEMNED_PREFIX) == logs
    aged(world, 20)
    assert world.collect().trimmed.packs == len(logs)
    assert names(world, CONDEMNED_PREFIX) == []
    assert trimmed_to(world.store) == int(logs[-1].split("/")[-1][:12])
    world.check_points()


def test_a_log_of_what_has_not_left_stays_and_all_behind_it(world: CollectionWorld) -> None:
    logs = names(world, CONDEMNED_PREFIX)
    pack_id = next(pack.pack_id for pack in world.ledger.packs() if pack.standing is PackStanding.DELETED)
    pack = world.ledger.stored[pack_id]
    aged(world, HORIZON_SECONDS + 1)
    world.ledger.stored[pack_id] = replace(pack, standing=PackStanding.STORED)
    world.ledger.condemned_us[pack_id] = world.ledger.now_us  # condemned, and its grace period is not over
    world.ledger.grace_us = 1_000_000
    settings = CollectSettings(grace_us=world.ledger.grace_us)
    replace(world.collection(), settings=settings).execute()
    assert names(world, CONDEMNED_PREFIX) == logs
    assert trimmed_to(world.store) == 0


def test_an_altered_log_stays_and_says_what_hangs_on_it(world: CollectionWorld) -> None:
    first = names(world, CONDEMNED_PREFIX)[0]
    body = bytearray(world.store.get(first))
    body[-1] ^= 1
    world.store.put(first, bytes(body), create_only=False)
    aged(world, HORIZON_SECONDS + 1)
    for report in (world.collection().plan(), world.collect()):
        assert report.trimmed.packs == 0
        (kept,) = report.kept_back
        assert kept.startswith(first) and "restored or rescued" in kept and "older version of it" in kept
    assert first in names(world, CONDEMNED_PREFIX)


def test_a_log_above_the_ledgers_number_is_not_its_own(world: CollectionWorld) -> None:
    aged(world, HORIZON_SECONDS + 1)
    logs = names(world, CONDEMNED_PREFIX)
    world.ledger.seq = int(logs[0].split("/")[-1][:12]) - 1
    settings = CollectSettings(grace_us=0)
    world.ledger.condemned_us.clear()
    replace(world.collection(), settings=settings).execute()
    assert set(logs) <= set(names(world, CONDEMNED_PREFIX))


def test_it_may_stop_after_every_step() -> None:
    steps: list[str] = []
    world = collected_once()
    aged(world, HORIZON_SECONDS + 1)
    world.store.put(epoch_name(0, OLD), b"")
    world.twin().collect(steps.append)
    assert {"trimming announced", "trimmed"} <= set(steps)
    for last in range(1, len(steps) + 1):
        twin, left = world.twin(), [last]

        def stop(_: str, left: list[int] = left, twin: CollectionWorld = twin) -> None:
            gone = int(max(names(world, CONDEMNED_PREFIX)).split("/")[-1][:12])
            if not set(names(world, CONDEMNED_PREFIX)) <= set(names(twin, CONDEMNED_PREFIX)):
                assert trimmed_to(twin.store) >= gone, "a log went before the bucket said so"
            left[0] -= 1
            if not left[0]:
                raise Stopped

        with pytest.raises(Stopped):
            twin.collect(stop)
        twin.collect()
        assert names(twin, CONDEMNED_PREFIX) == []
        assert len(names(twin, TRIMMED_PREFIX)) == 1


def test_a_later_trimming_leaves_one_mark(world: CollectionWorld) -> None:
    aged(world, HORIZON_SECONDS + 1)
    world.collect()
    world.store.put("v1/p/default/00/" + "00" * 16 + ".0", b"left")
    aged(world, 1)
    world.collect()
    assert len(names(world, CONDEMNED_PREFIX)) == 1  # of the sweep
    aged(world, HORIZON_SECONDS + 1)
    world.collect()
    assert names(world, CONDEMNED_PREFIX) == []
    assert len(names(world, TRIMMED_PREFIX)) == 1


def test_of_leaders_only_the_newest_is_kept_for_ever(world: CollectionWorld) -> None:
    world.store.put(epoch_name(0, OLD), b"")
    world.collect()
    assert names(world, EPOCHS_PREFIX) == sorted([epoch_name(0, OLD), epoch_name(1, HOLDER)])
    aged(world, HORIZON_SECONDS + 1)
    world.collect()
    assert names(world, EPOCHS_PREFIX) == [epoch_name(1, HOLDER)]
    assert newest_leader(world.store).holder == HOLDER
