"""Workers of one group on one host meet: all their guests are frozen before the first job begins, and until the last one has begun.

They meet in a folder, `<run_dir>/together/<group>/`: a file per VM that its worker keeps locked while it lives, and one per VM, attempt and
stage. So nobody waits for the dead, and nobody takes what an earlier attempt left for news.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from seawall.agent.capture.port import CaptureRequest
from seawall.agent.errors import AgentError
from seawall.repository.clock import Clock

GATHER_SECONDS = 180.0
"""How long the first worker waits for the last: they are started one after another, each within the fleet's limits."""
COMES_BACK_SECONDS = 20.0
"""How long one that failed is waited for: its next attempt begins after three."""
STAGE_SECONDS = 6.0
"""The guests stand still meanwhile, and are thawed after eight tenths of ten seconds anyway."""
LOOK_SECONDS = 0.02
FROZEN, BEGUN, FAILED = "frozen", "begun", "failed"


class GroupIncomplete(AgentError):
    """Not every VM of the group could be captured at the one instant."""

    reason = "GROUP_INCOMPLETE"
    next_step = "See the other runs of the group; back all of its VMs up together again."


class Rendezvous:
    """One worker's part. Not thread-safe. `close` when the capture is over."""

    def __init__(
        self, run_dir: Path, group_id: str, members: Collection[str], vm_id: str, attempt_id: str, clock: Clock
    ) -> None:
        """`members`: ids of the group's VMs, this one's among them."""
        self._folder = group_folder(run_dir, group_id)
        self._members, self._vm_id, self._attempt_id, self._clock = sorted(members), vm_id, attempt_id, clock
        self._attempts: dict[str, str] = {}
        self._lock = -1

    def gather(self) -> None:
        """Returns when every VM of the group has a worker that is ready. Raises GroupIncomplete."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._folder / self._vm_id, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # an older attempt's worker is dead or ends
        os.ftruncate(self._lock, 0)
        os.write(self._lock, self._attempt_id.encode())
        started = self._clock.monotonic_seconds()
        while len(self._attempts) < len(self._members):
            self._attempts = dict(self._present())
            waited = self._clock.monotonic_seconds() - started
            absent = [vm_id for vm_id in self._members if vm_id not in self._attempts]
            lost = waited > COMES_BACK_SECONDS and any(self._folder.glob(f"{vm_id}.*.{FAILED}") for vm_id in absent)
            if waited > GATHER_SECONDS or lost:
                self._give_up(set(self._attempts), "no worker was ready for")
            self._clock.sleep_seconds(LOOK_SECONDS)

    def meet(self, stage: str) -> None:
        """Says that this one has come so far, and returns when all have. Raises GroupIncomplete."""
        self._say(stage)
        deadline = self._clock.monotonic_seconds() + STAGE_SECONDS
        while missing := [vm_id for vm_id in self._members if not self._said(vm_id, stage)]:
            failed = any(self._said(vm_id, FAILED) for vm_id in self._members)
            if failed or self._clock.monotonic_seconds() > deadline:
                self._give_up(set(self._members) - set(missing), f"not {stage} in time:")
            self._clock.sleep_seconds(LOOK_SECONDS)

    def fail(self) -> None:
        """The others shall not wait for this one. Never raises."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._say(FAILED)

    def close(self) -> None:
        """Never raises. That it failed stays to be read while others are there."""
        with suppress(OSError):
            for path in self._folder.glob(f"{self._vm_id}.*"):
                if path.suffix != f".{FAILED}":
                    path.unlink(missing_ok=True)
            if not any(living(path) for path in self._members_files()):
                for path in self._folder.glob(f"*.{FAILED}"):
                    path.unlink(missing_ok=True)
            (self._folder / self._vm_id).unlink(missing_ok=True)
            for folder in (self._folder, self._folder.parent):
                folder.rmdir()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _members_files(self) -> list[Path]:
        return [self._folder / vm_id for vm_id in self._members if vm_id != self._vm_id]

    def _present(self) -> Iterator[tuple[str, str]]:
        """VM and attempt of each worker that lives and is ready. Not of one whose job has begun: that was an instant without this one."""
        for vm_id in self._members:
            attempt = self._attempt_id if vm_id == self._vm_id else living(self._folder / vm_id)
            if attempt and not self._stage(vm_id, attempt, BEGUN).exists():
                yield vm_id, attempt

    def _say(self, stage: str) -> None:
        self._stage(self._vm_id, self._attempt_id, stage).touch()

    def _said(self, vm_id: str, stage: str) -> bool:
        return self._stage(vm_id, self._attempts[vm_id], stage).exists()

    def _stage(self, vm_id: str, attempt_id: str, stage: str) -> Path:
        return self._folder / f"{vm_id}.{attempt_id}.{stage}"

    def _give_up(self, there: Collection[str], what: str) -> None:
        self.fail()
        missing = ", ".join(vm_id for vm_id in self._members if vm_id not in there) or "one of them"
        raise GroupIncomplete(f"The VMs of the group could not be captured at one instant; {what} {missing}.")


def rendezvous(request: CaptureRequest, run_dir: Path, clock: Clock) -> Rendezvous | None:
    """None for a VM by itself."""
    if not request.group_id:
        return None
    return Rendezvous(run_dir, request.group_id, request.group, request.vm_id, request.attempt_id, clock)


def group_folder(run_dir: Path, group_id: str) -> Path:
    return run_dir / "together" / group_id


def living(path: Path) -> str:
    """What a living worker wrote there; "" when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.read(descriptor, 64).decode(errors="replace")
    finally:
        os.close(descriptor)
    return ""


def sweep_groups(run_dir: Path) -> None:
    """Remove what groups left of which no worker lives. Never raises."""
    with suppress(OSError):
        for folder in (run_dir / "together").iterdir():
            if any(living(path) for path in folder.iterdir()):
                continue
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()
        (run_dir / "together").rmdir()
