"""What a plan says goes, goes: object for object and byte for byte, whatever lies in the bucket; and it changes nothing."""

import json
import random
from dataclasses import dataclass, field, replace

import pytest

from seawall.cli.job_text import outcome_text, print_job
from seawall.cli.output import Output
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.services.convert_jobs import job_message
from seawall.repository.collecting import plan as planning
from seawall.repository.collecting.condemning import SortedIds
from seawall.repository.collecting.plan import CollectSettings, Fate, Leaving, Report
from seawall.repository.collecting.port import PackFacts, PackStanding
from seawall.repository.format.layout import (
    epoch_name,
    hand_in_name,
    manifest_name,
    pack_name,
    refmap_name,
    tombstone_name,
    trimmed_name,
)
from seawall.repository.format.root_object import object_hash
from seawall.repository.format.tombstone import Burial
from support.collection_world import ATTEMPT, TENANT, VM, CollectionWorld
from support.memory_disks import ModelDisk

DAY = 86_400
GRACE_US = DAY * 1_000_000
ELSEWHERE = "00000000-0000-4000-8000-00000000000b"


def aged(world: CollectionWorld, seconds: float) -> None:
    world.clock.advance(seconds)
    world.ledger.now_us = world.clock.now_us()


def littered() -> CollectionWorld:
    """All that a collection ever takes at once, ripe, old, young, locked and strange."""
    world, model, rng = CollectionWorld(), ModelDisk(1 << 20), random.Random(1)
    world.ledger.now_us, world.ledger.grace_us = world.clock.now_us(), GRACE_US
    model.write(0, rng.randbytes(600_000))
    points = [world.add_point(1, model)]
    late = tuple(world.store.get(name(TENANT, VM, points[0])) for name in (manifest_name, refmap_name))
    for number, place in enumerate((100_000, 150_000, 120_000), start=2):
        model.write(place, rng.randbytes(300_000))
        points.append(world.add_point(number, model, points[-1]))
    world.delete_point(points[0])
    for _ in range(2):
        world.collect()
        aged(world, 2 * DAY)
    world.store.put(epoch_name(0, ELSEWHERE), b"")
    world.store.put(trimmed_name(0), b"")
    aged(world, 91 * DAY)
    world.delete_point(points[1])
    world.delete_point(points[2])
    trim = CollectSettings(grace_us=GRACE_US, horizon_us=1000 * GRACE_US)
    replace(world.collection(), settings=trim).execute()  # condemns
    aged(world, 2 * DAY)
    left_behind(world, points[0], *late)
    aged(world, 2 * DAY)
    world.store.put(pack_name(TENANT, b"\x05" * 16, 0), b"y" * 77)  # somebody may still report it
    return world


def left_behind(world: CollectionWorld, point: str, manifest: bytes, refmap: bytes) -> None:
    burial = Burial(world.repository.config.lineage_id, TENANT, VM, point, object_hash(manifest), 1, 1)
    world.store.put(tombstone_name(TENANT, VM, point), world.repository.sign_tombstone(burial))
    world.store.put(manifest_name(TENANT, VM, point), manifest)
    world.store.put(refmap_name(TENANT, VM, point), refmap)
    world.store.put(refmap_name(TENANT, VM, ATTEMPT), b"r" * 33)
    world.store.put(hand_in_name(ATTEMPT, "root", bytes(32)), b"h" * 44)
    facts = PackFacts(b"\x01" * 16, TENANT, PackStanding.OPEN, False, 7 << 20, 0, 0)
    world.ledger.stored[facts.pack_id] = facts  # sealed, never PUT
    world.ledger.stored[b"\x02" * 16] = replace(facts, pack_id=b"\x02" * 16)
    world.ledger.stored[b"\x03" * 16] = replace(facts, pack_id=b"\x03" * 16, standing=PackStanding.DELETED)
    world.ledger.stored[b"\x04" * 16] = replace(facts, pack_id=b"\x04" * 16, in_use=True)
    for number, size in ((0, 5000), (2, 6000), (3, 7000), (4, 8000)):
        world.store.put(pack_name(TENANT, bytes([number]) * 16, 0), bytes(size))
    world.store.put(f"v1/p/{TENANT}/strange", b"?")
    for pack in list(world.ledger.packs()):
        if pack.standing is PackStanding.STORED and pack.ripe and not pack.meta:
            world.store.put(pack_name(TENANT, pack.pack_id, 7), b"of a compaction that died")
    stored = [pack for pack in world.ledger.packs() if pack.standing is PackStanding.STORED and not pack.waiting]
    needed = next(pack for pack in stored if 0 in pack.generations)  # not one that compaction wrote anew
    body = world.store.get(pack_name(TENANT, needed.pack_id, 0))
    for copy in range(len(needed.generations)):
        world.store.put(pack_name(TENANT, needed.pack_id, 2 + copy), body)
    world.ledger.stored[needed.pack_id] = replace(world.ledger.stored[needed.pack_id], generation=2)


@dataclass
class OwnLocks:
    """Object Lock of 10 days: by itself for what is put, longer where it was asked."""

    world: CollectionWorld
    until: dict[str, int] = field(default_factory=dict)

    def lock_period_us(self) -> int:
        return 10 * GRACE_US

    def locked_until_us(self, name: str) -> int:
        put_us = self.world.store.head(name).modified_us
        return max(self.until.get(name, 0), put_us + self.lock_period_us())

    def lock_until(self, name: str, until_us: int) -> None:
        self.until[name] = until_us


def contents(world: CollectionWorld) -> dict[str, int]:
    return {info.name: info.size_bytes for info in world.store.list("")}


@pytest.fixture
def every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MOST_NAMED", 10_000)


def named(report: Report) -> set[str]:
    return {note.removeprefix("would go: ").rsplit(",", 1)[0] for note in report.named}


@pytest.mark.usefixtures("every_name")
def test_what_a_plan_names_goes_and_nothing_else_does() -> None:
    world = littered()
    before, ledger = contents(world), dict(world.ledger.stored)
    locks = OwnLocks(world)
    plan = replace(world.collection(), locks=locks).plan()
    assert (contents(world), world.ledger.stored, locks.until) == (before, ledger, {}), "a plan changes nothing"
    world.store.deleted.clear()
    done = replace(world.collection(), locks=locks).execute()
    assert plan.locked.packs == done.locked.packs == len(locks.until) > 0
    after = contents(world)
    gone = {name for name in before if name not in after}
    assert set(plan.leaving) == set(Leaving)
    assert min(plan.planned[fate].packs for fate in (Fate.GOES, Fate.SHRINKS)) > 0
    assert named(plan) == gone
    assert {why: (tally.packs, tally.bytes) for why, tally in plan.leaving.items()} == {
        why: (tally.packs, tally.bytes) for why, tally in done.leaving.items()
    }
    assert (plan.planned[Fate.GOES].packs, plan.planned[Fate.GOES].bytes) == (done.deleted.packs, done.deleted.bytes)
    assert (plan.planned[Fate.SHRINKS].packs, plan.planned[Fate.SHRINKS].bytes) == (
        done.compacted.packs,
        done.compacted.bytes,
    )
    written = {name: size for name, size in after.items() if name not in before and name.startswith("v1/p/")}
    assert plan.bytes_back == done.bytes_back == sum(before[name] for name in gone) - sum(written.values())
    assert (plan.young.packs, plan.young.bytes) == (1, 77)
    assert any("strange" in one for one in plan.kept_back) and any("strange" in one for one in done.kept_back)
    world.check_points()
    second = world.collection().plan()
    assert second.bytes_back == 0 == len(second.leaving)


def test_the_command_line_shows_what_goes_what_stays_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    world = littered()
    job = Job("0192", "repository", JobKind.COLLECT, JobState.SUCCEEDED, '{"plan_only": true}', 1_000_000)
    plan = world.collection().plan()
    shown = job_message(replace(job, result=json.dumps(plan.as_json())), "main")
    assert sum(line.figures["bytes"] for line in shown.result.lines if line.group == "goes") == plan.bytes_back
    print_job(Output(as_json=False), shown)
    text = capsys.readouterr().out
    for sentence in (*planning.LEAVES_BECAUSE.values(), planning.YOUNG):
        assert sentence in text
    assert "would go: v1/" in text and "would come back" in outcome_text(shown)
    assert "strange: not a name that Seawall gives" in text


def test_a_plan_remembers_ids_in_their_order() -> None:
    ids = SortedIds()
    held = [bytes([number]) * 16 for number in range(0, 200, 2)]
    for pack_id in held:
        ids.add(pack_id)
    assert len(ids) == len(held)
    assert [number for number in range(200) if bytes([number]) * 16 in ids] == list(range(0, 200, 2))
    assert "text" not in ids
