"""Packs with two generations, each altered in another place, under a real controller and a real agent: restores and parents."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.store.transaction import Transaction
from seawall.repository.format.layout import PackName, pack_name, parse_pack_name
from seawall.repository.format.pack import parse_table
from seawall.repository.store.folder import FolderStore
from support.agent_file_joined import VM, joined, known, web_image
from support.collecting import TENANT, collected, deleted, in_database
from support.controller_application import BRISK, Controller, configured, running

SUCCEEDED = resources_pb2.RUN_STATE_SUCCEEDED
OVER = (SUCCEEDED, resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS, resources_pb2.RUN_STATE_FAILED)


@dataclass
class Site:
    """A VM with one point. `pack`, of its data, was compacted to generation 1, and generation 0 lies beside it: as after a crash, or in a
    bucket that locks what it holds.
    """

    controller: Controller
    root: Path
    point_id: str
    pack: bytes
    older: bytes
    newer: bytes

    @property
    def image(self) -> Path:
        return self.root / "vms" / VM / "vda.img"

    def put(self, generation: int, body: bytes) -> None:
        store = FolderStore(self.root / "repository")
        store.put(pack_name(TENANT, self.pack, generation), body, create_only=False)

    async def ended(self, run: resources_pb2.Run) -> resources_pb2.Run:
        return await _ended(self.controller, run)

    async def restored(self) -> resources_pb2.Run:
        name = f"web-{uuid.uuid4().hex[:4]}"
        spec = resources_pb2.RestoreSpec(point_id=self.point_id, host_id="alpha", new_identity=True, vm_name=name)
        request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
        return await self.ended((await asyncio.to_thread(self.controller.backups.StartRestore, request)).run)

    def images(self) -> list[bytes]:
        """Of the VMs that were restored."""
        return [(path / "vda.img").read_bytes() for path in (self.root / "vms").iterdir() if path.name != VM]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with _site(tmp_path) as made:
        yield made


@asynccontextmanager
async def _site(root: Path) -> AsyncIterator[Site]:
    noise = random.Random(3)
    image = web_image(root, noise.randbytes(4_000_000) + bytes(1_048_576))
    with running(configured(root / "controller"), replace(BRISK, collect_grace_seconds=0.0)) as controller:
        controller.add_folder(root / "repository")
        host = await joined(controller, root)
        async with host.running():
            await known(controller)
            first = await _ended(controller, await asyncio.to_thread(controller.start_backup, "web"))
            store = FolderStore(root / "repository")
            before = {info.name: store.get(info.name) for info in store.list("v1/p/")}
            with image.open("r+b") as file:
                file.write(noise.randbytes(2_000_000))
            second = await _ended(controller, await asyncio.to_thread(controller.start_backup, "web"))
            await asyncio.to_thread(deleted, controller, first.run_id)
            job = await asyncio.to_thread(collected, controller)
            assert json.loads(job.result)["compacted"]["packs"] > 0, job
            names = [info.name for info in store.list("v1/p/") if info.name not in before]
            later = [name for name in map(parse_pack_name, names) if name is not None and name.generation == 1]
            (pack,) = [name for name in later if _older(name) in before]
            newer = store.get(pack_name(TENANT, pack.pack_id, 1))
            made = Site(controller, root, second.run_id, pack.pack_id, before[_older(pack)], newer)
            made.put(0, made.older)
            yield made


def _older(pack: PackName) -> str:
    return pack_name(TENANT, pack.pack_id, 0)


async def _ended(controller: Controller, run: resources_pb2.Run) -> resources_pb2.Run:
    return await asyncio.to_thread(controller.watch, run.run_id, lambda seen: seen.state in OVER)


def table_of(body: bytes) -> NDArray[np.void]:
    table = parse_table(body, len(body))
    assert not isinstance(table, int)
    return table


def flipped(body: bytes, slot: int) -> bytes:
    """One bit of one record, which has its slot in every generation."""
    (row,) = table_of(body)[table_of(body)["slot"] == slot]
    at = int(row["offset"]) + 40
    return body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]


async def test_each_generation_is_altered_in_another_chunk(site: Site) -> None:
    """The catalogue's is altered, lost or cut: what it lacks comes from the one beside it, and nothing is made up where neither has it."""
    content = site.image.read_bytes()
    one, other, *_ = table_of(site.newer)["slot"].tolist()
    store = FolderStore(site.root / "repository")
    assert table_of(site.newer)["offset"][0] != table_of(site.older)["offset"][one], "it was really compacted"

    site.put(1, flipped(site.newer, one))
    site.put(0, flipped(site.older, other))
    assert (await site.restored()).state == SUCCEEDED

    site.put(1, site.newer[: len(site.newer) // 2])
    site.put(0, site.older)
    assert (await site.restored()).state == SUCCEEDED

    store.delete(pack_name(TENANT, site.pack, 1))
    assert (await site.restored()).state == SUCCEEDED
    assert site.images() == [content] * 3

    site.put(1, flipped(flipped(site.newer, one), other))
    site.put(0, flipped(site.older, other))
    failed = await site.restored()
    assert (failed.state, failed.failure.reason) == (resources_pb2.RUN_STATE_FAILED, "DATA_DAMAGED")
    assert f"point {site.point_id}, disk vda, byte " in failed.failure.message
    assert site.pack.hex() in failed.failure.message
    assert len(site.images()) == 3, "nothing of it stays"


@pytest.mark.slow
async def test_a_parent_is_read_the_same_way(site: Site) -> None:
    """Its pages lie in a pair that is altered and counts, and in the pair of before: the next point is none without a parent."""
    await asyncio.to_thread(_moved_to_spoilt_pairs, site)
    with site.image.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"changed" * 1000)
    run = await site.ended(await asyncio.to_thread(site.controller.start_backup, "web"))
    assert (run.state, [each.reason for each in run.warnings]) == (SUCCEEDED, [])
    request = operator_pb2.GetPointRequest(point=run.run_id)
    point = (await asyncio.to_thread(site.controller.backups.GetPoint, request)).point
    assert point.parent_point_id == site.point_id and point.disks[0].how == resources_pb2.READ_METHOD_BITMAP


def _moved_to_spoilt_pairs(site: Site) -> None:
    """Each meta pack: the next pair counts and is altered in each record; the one of before lies there still."""

    def moved(transaction: Transaction) -> list[Pack]:
        (record,) = transaction.repositories.repositories()
        every = transaction.packs.pack_page(record.id, b"", 100)
        metas = [pack for pack in every if pack.meta and pack.state is PackState.STORED]
        for pack in metas:
            transaction.packs.save_pack(pack, pack.at_generation(pack.generation + 2, pack.size_bytes, b""))
        return metas

    store = FolderStore(site.root / "repository")
    for pack in in_database(site.controller, moved):
        body = store.get(pack_name(TENANT, pack.id, pack.generation))
        for slot in table_of(body)["slot"].tolist():
            body = flipped(body, slot)
        for generation in pack.generations:
            store.put(pack_name(TENANT, pack.id, generation + 2), body)
