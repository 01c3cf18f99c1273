"""One small fleet under faults: a controller (and leaders that do not know that they were replaced), a host with two VMs, one bucket."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from seawall.controller.errors import ControllerError
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.publishing.promotion import PlaceTaken
from seawall.controller.records.catalogue import PointState
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.port import LedgerRefused
from seawall.repository.errors import RepositoryError
from seawall.repository.format.layout import manifest_name
from seawall.repository.format.record import Locator
from support.controller_clock import ManualClock
from support.memory_disks import BLOCK, ModelDisk

from . import host
from .bucket import Died, Fault, Line, SharedBucket
from .controller import REPOSITORY, Controller, bucket_like, copied_state
from .host import TENANT, Attempted
from .place import Place
from .truth import Findings, Truth, check_leftovers, check_points, opened

DISK_BYTES = 24 * 8192
VMS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
HOUR_SECONDS = 3600.0
HORIZON_SECONDS = 91 * 24 * HOUR_SECONDS
"""Longer than condemn logs are kept."""

Interrupt = Callable[[str], None]


def disk_of(blocks: dict[int, bytes]) -> ModelDisk:
    """With that content, as of a point."""
    disk = ModelDisk(DISK_BYTES)
    for number, block in blocks.items():
        disk.write(number * BLOCK, block)
    return disk


class World:
    """`interrupt` is called after each durable step of the leading controller with its name: other things may happen there.

    `done`: how often what happened, the controllers' steps under their names: so that a test can say that it tried what it is for.
    """

    def __init__(self, place: Place, directory: Path) -> None:
        self.clock = ManualClock(place.now_us)
        self.bucket: SharedBucket = bucket_like(place.store, self.clock)
        self.repository = opened(place.config, self.bucket.store)
        self.truth, self.findings = Truth(), Findings()
        self.disks = {vm_id: ModelDisk(DISK_BYTES) for vm_id in VMS}
        self.waiting: list[Attempted] = []
        self.remembered: dict[bytes, Locator] = {}
        self.interrupt: Interrupt = lambda name: None
        self.host_step: Interrupt = lambda name: None
        self.history: list[str] = []
        self.done: Counter[str] = Counter()
        self.forked: set[str] = set()
        """Points that two leaders made from one hand-in, each with a manifest of its own."""
        self._directory = directory
        self._states = 0
        self._backups = 0
        self.state = copied_state(place.config.state_dir, self._fresh())
        self.old_state: Path | None = None
        self.controller = self._begun(self.state, {})
        self.zombie: Controller | None = None

    # What hosts do

    def change(self, vm_id: str, rng: random.Random) -> None:
        """Some blocks anew, of few kinds of data, so that VMs share some."""
        disk = self.disks[vm_id]
        for _ in range(rng.randint(1, 4)):
            kind, block = rng.randint(0, 11), rng.randrange(0, DISK_BYTES // 8192 - 3)
            disk.write(block * 8192, random.Random(kind).randbytes(3 * 8192))

    def recall(self, vm_id: str, rng: random.Random) -> None:
        """All that some point held, rather one that was forgotten: data that other points share, or that just died and may be collected."""
        dead = sorted(self.truth.forgotten & self.truth.contents.keys())
        any_point = sorted(self.truth.contents)
        if not any_point:
            return self.change(vm_id, rng)
        self.disks[vm_id] = disk_of(
            self.truth.contents[rng.choice(dead if dead and rng.random() < 0.7 else any_point)][1]
        )

    def begin(self, vm_id: str, how: str, stale: bool = False, late_packs: int = 0) -> Attempted | None:
        """A backup up to its hand-in; None where it was refused."""
        if any(one.vm_id == vm_id for one in self.waiting):
            return None
        host.give_up_others(self.controller, [one.key.attempt_id for one in self.waiting])
        if self.controller.database.read_now(lambda transaction: transaction.runs.open_backup(vm_id, REPOSITORY)):
            return None  # it is being published
        self._backups += 1
        source = self.disks[vm_id].source()
        # After a roll-back a run of before may be open in the database: it is over.
        with suppress(ControllerError):
            attempted = host.begin(self.controller, self._backups, vm_id, source, how)
            attempted.stale = dict(self.remembered) if stale else {}
            attempted.late_packs = late_packs
            attempted.on_step = self.host_step
            self.truth.contents[attempted.point_id] = (vm_id, attempted.content)
            self.waiting.append(attempted)
            try:
                host.write(self.controller, self.bucket, attempted)
            except (ControllerError, RepositoryError, host.AgentDied) as error:
                self.note(f"backup {attempted.point_id[-4:]} ends: {type(error).__name__}: {error}")
                self.abandon(attempted)
                return None
            self._remember()
            return attempted
        return None

    def complete(self, attempted: Attempted, by: Controller | None = None) -> None:
        """CompleteAttempt, what is missing stored anew, the acknowledgement. An attempt that is over leaves `waiting`."""
        controller = by or self.controller
        try:
            completion = host.complete(controller, attempted)
            for _ in range(3):
                if not completion.missing:
                    break
                attempted.stale = {}
                host.write(controller, self.bucket, attempted, [(one.pack_id, one.slot) for one in completion.missing])
                completion = host.complete(controller, attempted)
        except (ControllerError, RepositoryError) as error:
            self.note(f"hand-in {attempted.point_id[-4:]}: {error}")
            if isinstance(error, PlaceTaken):
                self.forked.add(attempted.point_id)
            return
        if completion.missing:
            self.findings.broken.append(f"backup {attempted.point_id} is told again and again to store slots anew")
            return
        self.note(f"point {attempted.point_id[-4:]} is acknowledged")
        self.done["acknowledged"] += 1
        self.truth.acknowledged.add(attempted.point_id)
        if attempted in self.waiting:
            self.waiting.remove(attempted)

    def abandon(self, attempted: Attempted) -> None:
        self.waiting.remove(attempted)
        with suppress(ControllerError):
            host.give_up(self.controller, attempted)

    # What controllers do

    def forget(self, point_id: str, by: Controller | None = None) -> None:
        """An operator deletes a point."""
        controller = by or self.controller

        def known() -> bool:
            point = controller.database.read_now(lambda transaction: transaction.points.point(point_id))
            return point is not None and point.state in (PointState.DELETING, PointState.DELETED)

        before = point_id in self.truth.forgotten - self.truth.undecided
        self.truth.forgotten.add(point_id)
        try:
            controller.deletions.delete([point_id])
        except (ControllerError, RepositoryError, Died) as error:
            self.note(f"deletion of {point_id[-4:]}: {error}")
            if not before:
                self.truth.undecided.add(point_id)
            if not before and not known():
                self.truth.forgotten.discard(point_id)
                self.truth.undecided.discard(point_id)
            if isinstance(error, Died):
                raise
        else:
            self.done["forgotten"] += 1
            self.truth.undecided.discard(point_id)

    def collect(self, by: Controller | None = None) -> bool:
        """Whether it went through."""
        controller = by or self.controller
        try:
            controller.collect()
        except (CollectionStopped, LedgerRefused, ControllerError, RepositoryError) as error:
            self.note(f"collection: {type(error).__name__}: {error}")
            return False
        self.done["collected"] += 1
        return True

    def finish(self) -> None:
        """The finisher's round."""
        for finish, unfinished in (
            (self.controller.promotion.finish, self.controller.promotion.unfinished),
            (self.controller.deletions.finish, self.controller.deletions.unfinished),
        ):
            for point_id in unfinished():
                try:
                    finish(point_id)
                except (ControllerError, RepositoryError) as error:
                    self.note(f"finishing {point_id[-4:]}: {error}")

    # What goes wrong

    def restart(self, plan: dict[int, Fault]) -> None:
        """However the process ended, another begins on the same database. Whoever was still writing gives up."""
        self.controller.close()
        self.controller = self._begun(self.state, plan)
        for attempted in [one for one in self.waiting if one.request is None]:
            self.abandon(attempted)

    def snapshot(self, index: bool = False) -> None:
        """What a roll-back will bring back: the database, and with `index` the chunk index of that moment beside it."""
        self.old_state = copied_state(self.state, self._fresh())
        if index:
            self.controller.opened.index.flush()
            shutil.copytree(self.state / "index", self.old_state / "index", dirs_exist_ok=True)

    def replace_leader(self, plan: dict[int, Fault], *, rolled_back: bool) -> None:
        """Another controller, on a copy of the database, new or old; the one of before goes on with its own for a while."""
        source = self.old_state if rolled_back and self.old_state is not None else self.state
        self.done["second leader"] += 1
        self.done["rolled back"] += source is self.old_state
        fresh = copied_state(source, self._fresh())
        if source is self.old_state:
            shutil.copytree(source / "index", fresh / "index", dirs_exist_ok=True)
        if self.zombie is not None:
            self.zombie.close()
        self.zombie, self.state = self.controller, fresh
        self.controller = self._begun(fresh, plan)

    def end_zombie(self) -> None:
        if self.zombie is not None:
            self.zombie.close()
            self.zombie = None

    # The end

    def settle(self) -> None:
        """Everything arrives, nothing fails any more: then maintenance must tidy up, and nothing may be lost."""
        self.interrupt = lambda name: None
        self.end_zombie()
        self.bucket.arrive_all()
        self.restart({})
        for attempted in list(self.waiting):
            self.abandon(attempted)
        host.give_up_others(self.controller, ())
        self.finish()
        self.clock.advance(HOUR_SECONDS)
        self._move_forked_manifests_away()
        through = [self.collect() for _ in range(3)]
        if not through[-1]:
            self.findings.broken.append(f"collection does not go through: {self.history[-1]}")
        self.check()
        check_leftovers(self.repository, self.bucket.store, self.truth, self.findings)

    def _move_forked_manifests_away(self) -> None:
        """What an operator is told to do, in the one case that DESIGN.md knows as a limit (a fork of the database made another manifest
        under a point's name): else it stops every collection. None that anybody was told of, or sees, is moved.
        """
        shown = {*self.truth.acknowledged, *self.available()}
        for name in self.repository.points(TENANT):
            if name.point_id in self.forked - shown:
                self.note(f"forked: {name.point_id[-4:]}")
                self.done["moved away by hand"] += 1
                self.bucket.store.delete(manifest_name(name.tenant, name.vm_id, name.point_id))

    def check(self) -> None:
        check_points(self.repository, self.bucket.store, self.truth, self.available(), self.findings)

    def close(self) -> None:
        self.end_zombie()
        self.controller.close()

    def note(self, sentence: str) -> None:
        self.history.append(sentence)

    def available(self) -> list[str]:
        """Points that an operator of the leading controller sees."""
        listed = self.controller.database.read_now(
            lambda transaction: transaction.points.points(repository_id=REPOSITORY)
        )
        return sorted(point.id for point in listed if point.state is PointState.AVAILABLE)

    def _begun(self, state: Path, plan: dict[int, Fault]) -> Controller:
        """The next process; one that dies as it opens the repository is begun again without faults."""
        controller = Controller(state, Line(self.bucket, plan), self.clock, self._step)
        try:
            _ = controller.opened
        except Died:
            controller.close()
            return self._begun(state, {})
        except (ControllerError, RepositoryError) as error:
            self.note(f"opening: {type(error).__name__}: {error}")
        return controller

    def _step(self, name: str) -> None:
        self.done[name] += 1
        self.interrupt(name)

    def _remember(self) -> None:
        """What a stale index may go on answering."""
        index: ChunkIndex = self.controller.opened.index
        for info in self.bucket.store.list("v1/p/"):
            parts = info.name.rsplit("/", 1)[-1].split(".")
            pack_id, generation = bytes.fromhex(parts[0]), int(parts[1])
            if generation or index.pack(pack_id) is None:
                continue
            tail = self.repository.read_tail(TENANT, pack_id, generation)
            if not tail.footer.meta:
                self.remembered |= host.locators_of(pack_id, tail.table)

    def _fresh(self) -> Path:
        self._states += 1
        return self._directory / f"state-{self._states}"
