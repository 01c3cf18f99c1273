"""One round: fresh repositories of every tool, all steps, each step by one tool after the other; who begins changes from step to step."""

import shutil
from collections.abc import Callable, Sequence

from .bitmap_case import BitmapFigures, next_day_by_bitmap
from .borg_tool import Borg
from .cases import BITMAP, Choice, Step
from .command_tool import CommandTool
from .comparing import compare
from .fleet import Fleet
from .making import image
from .measured import FOLDER, RESTORE, RGW, SEAWALL, Row
from .offline_vm import OfflineVm
from .places import FOLDERS, OUT
from .restic_tool import Restic
from .seawall_tool import Seawall
from .targets import BucketTarget, FolderTarget

Say = Callable[[str], None]


class Round:
    """`number` begins at 1. Rows are handed to `keep` as they come."""

    def __init__(self, fleet: Fleet, choice: Choice, number: int, say: Say, keep: Callable[[Row], None]) -> None:
        self._fleet = fleet
        self._choice = choice
        self._number = number
        self._say = say
        self._keep = keep
        self._vms: dict[str, OfflineVm] = {}
        self._turns = number

    def on_gateway(self) -> BitmapFigures | None:
        store = self._fleet.store
        seawall = Seawall(self._fleet, "rgw", BucketTarget(store, "seawall"), RGW)
        seawall.make_repository("s3://seawall")
        restic = Restic(self._fleet.host, f"s3:{store.endpoint}/restic", BucketTarget(store, "restic"), RGW, store.keys)
        restic.make_repository()
        self._run(seawall, [restic])
        if BITMAP in self._choice.cases:
            return next_day_by_bitmap(self._fleet, self._number, self._note)
        return None

    def in_folders(self) -> None:
        shutil.rmtree(FOLDERS, ignore_errors=True)
        FOLDERS.mkdir(parents=True)
        places = {name: FOLDERS / name for name in (SEAWALL, Restic.name, Borg.name)}
        targets = {name: FolderTarget(place) for name, place in places.items()}
        places[SEAWALL].mkdir()
        seawall = Seawall(self._fleet, "folder", targets[SEAWALL], FOLDER)
        seawall.make_repository(str(places[SEAWALL]))
        restic = Restic(self._fleet.host, str(places[Restic.name]), targets[Restic.name], FOLDER, {})
        borg = Borg(self._fleet.host, places[Borg.name], targets[Borg.name])
        for tool in (restic, borg):
            tool.make_repository()
        self._run(seawall, [restic, borg])
        shutil.rmtree(FOLDERS)

    # -- the steps

    def _run(self, seawall: Seawall, others: Sequence[CommandTool]) -> None:
        for step in self._choice.steps:
            vm = self._vms.setdefault(step.vm, OfflineVm(self._fleet, step.vm))
            vm.present(image(step.image))
            self._in_turn(self._backups(step, vm, seawall, others))
        if RESTORE in self._choice.cases:
            everybody: list[Seawall | CommandTool] = [seawall, *others]
            self._in_turn([self._restored(tool) for tool in everybody])
            if self._number == 1:
                self._restore_the_others(seawall)
        shutil.rmtree(OUT, ignore_errors=True)

    def _backups(
        self, step: Step, vm: OfflineVm, seawall: Seawall, others: Sequence[CommandTool]
    ) -> list[Callable[[], Row]]:
        def ours() -> Row:
            return seawall.backup(step.case, self._number, vm)

        def of(tool: CommandTool) -> Callable[[], Row]:
            return lambda: tool.backup(step.case, self._number, vm.disk)

        return [ours, *(of(tool) for tool in others)]

    def _restored(self, tool: Seawall | CommandTool) -> Callable[[], Row]:
        def attempt() -> Row:
            row, restored = tool.restore(self._choice.restored, self._number)
            compare(f"{tool.name}, {self._choice.restored}", image(self._choice.restored), restored)
            return row

        return attempt

    def _restore_the_others(self, seawall: Seawall) -> None:
        """Every other point of ours, not timed: its bytes are what counts."""
        for step in self._choice.steps:
            if step.case != self._choice.restored:
                _, restored = seawall.restore(step.case, self._number)
                compare(f"seawall, {step.case}", image(step.image), restored)
        self._say("Every point restored byte for byte")

    def _in_turn(self, actions: Sequence[Callable[[], Row]]) -> None:
        self._turns += 1
        for action in actions if self._turns % 2 else reversed(actions):
            self._note(action())

    def _note(self, row: Row) -> None:
        self._keep(row)
        stored = f"{row.stored_bytes / (1 << 20):7.1f} MiB stored" if row.case != RESTORE else ""
        self._say(
            f"{row.target:6} round {row.round}  {row.case:15} {row.tool:8} {row.wall_seconds:7.2f} s  "
            f"CPU {row.cpu_seconds:7.2f} s  {stored}"
        )
