"""`make demo`: the main job as a story, through the public command line, judged by qemu-img and by the guest itself."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.lab import record as records
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import BASE, BUILD, Laboratory
from deploy.lab.summary import Summary
from deploy.lab.truth import WitnessedPoint, compare_point, take_point
from deploy.lab.waiting import LabFailed

NAME = "demo"
OUTPUT = BUILD / "demo"
GUEST = "guest"

_WRITES_BETWEEN = 200  # operations of the guest, about eight seconds
_TRIM_ROUNDS = 3


class Demo:
    """One run of the demo. Prints as it goes; `summary` holds what it found."""

    def __init__(self, *, keep: bool) -> None:
        self.keep = keep
        self.summary = Summary()
        self._began = time.monotonic()

    def run(self) -> int:
        """The exit code."""
        shutil.rmtree(OUTPUT, ignore_errors=True)
        lab: Laboratory | None = None
        try:
            end_kept()
            lab = Laboratory(NAME, keep=self.keep)
            self._say("Building the guest: bootloader, kernel and data on a disk of its own")
            lab.guest_image()
            lab.start_hosts()
            self._tell(lab)
        except LabFailed as exc:
            self._say(f"FAILED: {exc}")
            if lab is not None:
                lab.save_logs(OUTPUT / "logs")
            self.keep = False
            return self._finish(lab, failed=True)
        except BaseException:
            self.keep = False
            self._finish(lab, failed=True)
            raise
        return self._finish(lab, failed=False)

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    @contextmanager
    def _step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Says what begins; what it leads to is said by the given function."""
        self._say(text)
        yield lambda result: print(f"{'':12}{result}", flush=True)

    # -- the story

    def _tell(self, lab: Laboratory) -> None:
        with self._step("Starting the laboratory: hub (S3 server, controller), hosts alpha and beta (libvirt, agent)"):
            lab.start()
        guest = self._start_guest(lab)
        witnessed = self._take_points(lab, guest)
        self._lose(guest)
        self._restore(lab, witnessed[-1])
        self._compare(lab, witnessed)

    def _start_guest(self, lab: Laboratory) -> GuestVm:
        guest = GuestVm(GUEST, lab.hypervisors["alpha"])
        with self._step(
            "Starting the guest on alpha: it boots from its own disk and writes to a qcow2 and a raw disk"
        ) as result:
            guest.create(lab.guest_image())
            result(guest.await_verdict().line)
            guest.await_writes(20)
            lab.await_vm(guest.name, "alpha")
        return guest

    def _take_points(self, lab: Laboratory, guest: GuestVm) -> list[WitnessedPoint]:
        points = [self._take_point(lab, guest, "full backup")]
        guest.await_writes(_WRITES_BETWEEN)
        points.append(self._take_point(lab, guest, "incremental backup after writes"))
        with self._step("The guest discards, zeroes and rewrites parts of both disks") as result:
            for _ in range(_TRIM_ROUNDS):
                result(guest.command("trim"))
        points.append(self._take_point(lab, guest, "incremental backup after discards"))
        return points

    def _take_point(self, lab: Laboratory, guest: GuestVm, what: str) -> WitnessedPoint:
        number = len(self.summary.points) + 1
        with self._step(f"Point {number}: {what}") as result:
            witnessed = take_point(lab, guest, lab.guest_image(), lab.directory / f"truth-{number}")
            self.summary.points.append(witnessed.point)
            result(
                f"point {witnessed.point.point_id}: the guest was at operation {witnessed.seq}, went on while the run was "
                f"{witnessed.resumed_while}, and wrote {witnessed.written_during} more before it was over"
            )
        return witnessed

    def _lose(self, guest: GuestVm) -> None:
        with self._step("Destroying the VM on alpha and deleting its disks"):
            guest.destroy()
            guest.erase()

    def _restore(self, lab: Laboratory, newest: WitnessedPoint) -> None:
        restored = GuestVm(GUEST, lab.hypervisors["beta"])
        with self._step(f"seawall restore {newest.point.point_id} --to beta --start") as result:
            run = lab.restore(newest.point.point_id, "--to", "beta", "--start")
            if not run.succeeded:
                raise LabFailed(f"the restore {run.state}: {run.failure}\n{lab.logs()}")
            verdict = restored.await_verdict()
            result(verdict.line)
        self.summary.restored_guest_ok = verdict.ok and verdict.seq == newest.seq
        if verdict.seq != newest.seq:
            self._say(f"The restored guest is at operation {verdict.seq}; the point was taken at {newest.seq}")

    def _compare(self, lab: Laboratory, points: list[WitnessedPoint]) -> None:
        with self._step(
            "Restoring every disk of every point to files and comparing them with the disks at that instant"
        ) as result:
            for number, witnessed in enumerate(points, 1):
                found = compare_point(lab, "beta", witnessed)
                self.summary.differences[witnessed.point.point_id] = found
                result(f"point {number}: " + ", ".join(f"{disk} {text or 'identical'}" for disk, text in found.items()))

    # -- the end

    def _finish(self, lab: Laboratory | None, *, failed: bool) -> int:
        if lab is not None and not self.keep:
            self._say("Stopping the laboratory")
            lab.stop()
            self.summary.leftovers = lab.leftovers()
        self.summary.seconds = time.monotonic() - self._began
        self.summary.write(OUTPUT / "summary.json")
        if self.summary.points:
            print(f"\n{self.summary.table()}\n\n{_HOW_TO_READ}\n", flush=True)
        for line in self.summary.leftovers:
            self._say(f"left behind: {line}")
        good = self.summary.good and not failed
        self._say(f"{'Good' if good else 'NOT GOOD'}. {OUTPUT / 'summary.json'}")
        if self.keep:
            print(_HOW_TO_LOOK)
        return 0 if good else 1


_HOW_TO_READ = """\
READ: bytes read from the disk (what surely reads as zeroes is not read).
NEW: whole chunks that the repository lacked, with the zeroes in them. STORED: what these take, compressed and sealed.
SECONDS: from a disk's first read to its last chunk handed to the uploaders."""

_HOW_TO_LOOK = f"""
The laboratory is still running. To look around, on the hub as an operator, or on a host:

  {sys.executable} -m deploy.lab enter hub seawall status
  {sys.executable} -m deploy.lab enter hub seawall point list
  {sys.executable} -m deploy.lab enter beta virsh list --all
  {sys.executable} -m deploy.lab enter alpha            (a shell)

  The guest's console: {BASE / NAME}/beta/var/log/libvirt/{GUEST}.console    Logs: {BASE / NAME}/*/log/
  Stop it:             make demo-down
"""


def end_kept() -> bool:
    """Stop a demo that was kept. False when there is none."""
    kept = records.read_record(BASE / NAME)
    if kept is None or not kept.keep:
        return False
    records.end(kept)
    return True
