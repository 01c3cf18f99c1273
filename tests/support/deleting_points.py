"""A controller with three points of one VM in a folder, and deletions that end the process where a test wants it."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seawall.controller.config import ControllerConfig
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.forgetting.deletion import Deletions, OnStep
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.repositories.catalogue import Keys, OpenStore, RepositoryCatalogue
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import SecretBox
from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import manifest_name, refmap_name, tombstone_name
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.port import Store
from support.controller_agent import VM_ID, ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller
from support.memory_disks import ModelDisk

SIZE = 1024 * 1024
HOUR_US = 3_600_000_000
STEPS = ("decided", "announced", "buried", "manifest", "refmap", "deleted")


class Died(BaseException):
    """The process ends here."""


def backed_up(controller: Controller, agent: ScriptedAgent, seed: int, changed: range = range(0, SIZE)) -> str:
    """The id of a new point of the agent's VM; its disk has random bytes in this range."""
    disk = ModelDisk(SIZE)
    disk.write(changed.start, random.Random(seed).randbytes(len(changed)))
    controller.start_backup("db-1")
    return agent.backup({"vda": disk.source()}).point_id


def with_points(controller: Controller, folder: Path, count: int = 3) -> tuple[ScriptedAgent, list[str]]:
    """`points_of` in a new repository in this folder."""
    controller.add_folder(folder)
    return points_of(controller, count)


def points_of(controller: Controller, count: int) -> tuple[ScriptedAgent, list[str]]:
    """A host, and points of its VM, oldest first; each point has data of its own."""
    agent = enrolled(controller, "alpha")
    agent.inventory({"vda": SIZE})
    agent.instant_us = SystemClock().now_us() - HOUR_US
    return agent, [backed_up(controller, agent, seed) for seed in range(count)]


@dataclass(frozen=True)
class Bucket:
    """What lies in the folder."""

    folder: Path

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder)

    def of(self, point_id: str) -> str:
        return objects_of(self.store, point_id)


def objects_of(store: Store, point_id: str) -> str:
    """The letters of the objects of a point: "mr", "mrt", "rt", "t"."""
    names = {"m": manifest_name, "r": refmap_name, "t": tombstone_name}
    present = {info.name for info in store.list("v1/")}
    return "".join(letter for letter, name in names.items() if name("default", VM_ID, point_id) in present)


@contextmanager
def deletions(
    config: ControllerConfig, on_step: OnStep = lambda step: None, opened: OpenStore = open_store
) -> Iterator[tuple[Deletions, LeaderLease, SqliteDatabase]]:
    """Alone, without the loop that finishes what they leave."""
    clock = SteadyClock(SystemClock())
    database = SqliteDatabase(config.paths.database, config.paths.lock)
    lease = LeaderLease(database, clock, BRISK)
    box = SecretBox.from_file(config.paths.kek)
    keys = Keys(load_wrapper_key(config.paths, box), box)
    catalogue = RepositoryCatalogue(database, keys, config.paths, lease, clock, opened)
    try:
        asyncio.run(lease.acquire())
        yield Deletions(database, catalogue, lease, clock, on_step), lease, database
    finally:
        catalogue.close()
        database.close()


def dying_at(step: str) -> OnStep:
    def die(reached: str) -> None:
        if reached == step:
            raise Died

    return die
