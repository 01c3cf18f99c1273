"""Carries out the plan of a rescue: disk after disk, resuming what an earlier attempt left. Called by the command line.

Whatever ends it (kill -9, a cut network, a full disk), what is written stays, and the same command goes on from there.
"""

import json
from collections.abc import Callable, Container
from contextlib import closing
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from seawall.repository.clock import Clock
from seawall.repository.format.manifest import DiskManifest
from seawall.repository.reading.damage import Damage
from seawall.repository.reading.point import page_count
from seawall.repository.reading.restore import RestoreCounters, restore_disk
from seawall.repository.rescue.device import open_device
from seawall.repository.rescue.file_names import image_names
from seawall.repository.rescue.files import DAMAGED, TargetFolder, open_folder
from seawall.repository.rescue.follower import DiskFollower, FollowSettings, RescueTarget
from seawall.repository.rescue.image_file import Found, finish_unnamed, forget_journal, look_at_image, open_image
from seawall.repository.rescue.journal import LIMIT_BYTES as JOURNAL_LIMIT_BYTES
from seawall.repository.rescue.opening import RescuePoint
from seawall.repository.rescue.plan import DevicePlan, FolderPlan, ImagePlan


class DiskState(Enum):
    """Where a disk of a rescue is."""

    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    DAMAGED = "damaged"
    """Written but for ranges that are lost."""
    KEPT = "kept"
    """An earlier attempt completed it."""


@dataclass(slots=True)
class DiskRun:
    """One disk on its way; read by the display while it is written."""

    manifest: DiskManifest
    target: Path
    state: DiskState = DiskState.WAITING
    counters: RestoreCounters = field(default_factory=RestoreCounters)
    damages: list[Damage] = field(default_factory=list)
    damage_file: Path | None = None
    seconds: float = 0.0

    @property
    def done_bytes(self) -> int:
        return self.manifest.size_bytes if self.state is DiskState.KEPT else self.counters.done_bytes


class RescueRun:
    """One rescue of one point. `disks` may be read from another thread while `run` is under way."""

    def __init__(
        self,
        point: RescuePoint,
        plan: FolderPlan | DevicePlan,
        clock: Clock,
        *,
        keep_going: bool = False,
    ) -> None:
        self._point = point
        self._plan = plan
        self._clock = clock
        self._keep_going = keep_going
        self._stop: Callable[[], None] = lambda: None
        self.files: list[Path] = []
        """Small files that are there when it is done."""
        if isinstance(plan, DevicePlan):
            self.disks = [DiskRun(plan.manifest, plan.path)]
        else:
            self.disks = [DiskRun(image.manifest, plan.path / image.file_name) for image in plan.images]

    @property
    def complete(self) -> bool:
        """Every byte that was asked for is there, proven."""
        whole = (DiskState.DONE, DiskState.KEPT)
        lost = () if isinstance(self._plan, DevicePlan) else self._plan.lost_members
        return not lost and all(disk.state in whole for disk in self.disks)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Altered objects that something newer stood in for; sentences that begin with their names."""
        return self._point.reader.passed_over.sentences()

    def run(self, stop: Callable[[], None] = lambda: None) -> None:
        """`stop` is called often, and may raise to end it.

        Raises what the store, the point and the target meet; the first damage, unless it goes on over damage.
        """
        self._stop = stop
        if isinstance(self._plan, DevicePlan):
            self._to_device(self._plan)
        else:
            self._to_folder(self._plan)

    def _to_folder(self, plan: FolderPlan) -> None:
        with open_folder(plan.path, make=True) as folder:
            folder.lock()
            for name, body in plan.small_files:
                folder.write_whole(name, body)
                self.files.append(plan.path / name)
            for disk, image in zip(self.disks, plan.images, strict=True):
                self._to_image(folder, disk, image)
            for image in plan.images:
                forget_journal(folder, image.file_name)
            folder.sync()

    def _to_image(self, folder: TargetFolder, disk: DiskRun, image: ImagePlan) -> None:
        # Looked at again under the lock: another rescue may have come between the plan and this.
        state = look_at_image(folder, image.file_name, image.identity)
        if state.found in (Found.COMPLETE, Found.UNNAMED):
            if state.found is Found.UNNAMED:
                finish_unnamed(folder, image.file_name)
            disk.damages, disk.damage_file = self._damage_before(folder, disk, image.file_name + DAMAGED)
            disk.state = DiskState.DAMAGED if disk.damages else DiskState.KEPT
            return
        with closing(open_image(folder, image.file_name, image.identity, state)) as target:
            self._fill(disk, target, state.pages, target.journal.note_page)
            folder.remove(image.file_name + DAMAGED)  # of an attempt that was killed here
            if disk.damages:
                self._write_damage(folder, disk, image.file_name + DAMAGED)
            target.finish()
        disk.state = DiskState.DAMAGED if disk.damages else DiskState.DONE

    def _to_device(self, plan: DevicePlan) -> None:
        (disk,) = self.disks
        held = range(page_count(plan.manifest.size_bytes)) if plan.compare else range(0)
        with closing(open_device(plan.path, plan.manifest.size_bytes)) as target:
            self._fill(disk, target, held, lambda index: None)
            target.finish()
        if disk.damages:
            name = f"seawall-rescue-{self._point.root.point_id}-{image_names(self._point.root)[disk.manifest.disk]}{DAMAGED}"
            with open_folder(Path.cwd(), make=False) as folder:
                self._write_damage(folder, disk, name)
        disk.state = DiskState.DAMAGED if disk.damages else DiskState.DONE

    def _fill(
        self, disk: DiskRun, target: RescueTarget, maybe_held: Container[int], note_page: Callable[[int], None]
    ) -> None:
        reader = self._point.reader
        disk.state = DiskState.WRITING
        settings = FollowSettings(reader.root.point_id, reader.k_dedup, self._keep_going, maybe_held, note_page)
        follower = DiskFollower(target, settings)
        began = self._clock.monotonic_seconds()
        restore_disk(reader, disk.manifest, target, disk.counters, self._stop, follower)
        disk.seconds = self._clock.monotonic_seconds() - began
        disk.damages = follower.damages

    def _damage_before(self, folder: TargetFolder, disk: DiskRun, name: str) -> tuple[list[Damage], Path | None]:
        """What the attempt that completed this image lost."""
        found = folder.facts(name)
        if found is None or not found.mine:
            return [], None
        size_bytes = disk.manifest.size_bytes
        damages = parse_damage_text(folder.read(name, JOURNAL_LIMIT_BYTES))
        unknown = Damage(disk.manifest.disk, name, "an earlier attempt lost parts of it", ((0, size_bytes),))
        return damages or [unknown], folder.path / name

    def _write_damage(self, folder: TargetFolder, disk: DiskRun, name: str) -> None:
        folder.replace_whole(name, damage_text(self._point.root.point_id, disk.damages).encode())
        disk.damage_file = folder.path / name


def damage_text(point_id: str, damages: list[Damage]) -> str:
    """JSON: which bytes of the image are zeroes because what they were is lost."""
    document = {"point_id": point_id, "damages": [damage_document(damage) for damage in damages]}
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def parse_damage_text(body: bytes) -> list[Damage]:
    """What `damage_text` wrote; nothing where it cannot be read."""
    try:
        return [
            Damage(
                str(each["disk"]),
                str(each["object_name"]),
                str(each["reason"]),
                tuple((int(part["offset"]), int(part["length"])) for part in each["ranges"]),
            )
            for each in json.loads(body)["damages"]
        ]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return []


def damage_document(damage: Damage) -> dict[str, object]:
    ranges = [{"offset": offset, "length": length} for offset, length in damage.ranges]
    return {**asdict(damage), "ranges": ranges, "length": damage.length}
