"""Names of what a capture leaves on a host: by them the sweep knows our own from foreign."""

from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_PREFIX = "seawall-"
SCRATCH_SUFFIX = ".scratch"
SOCKET_SUFFIX = ".sock"
_REPOSITORY_CHARACTERS = 8


def checkpoint_name(repository_id: str, attempt_id: str) -> str:
    """`seawall-<last 8 of the repository's id>-<attempt>`: unique, never used twice."""
    return f"{repository_prefix(repository_id)}{attempt_id}"


def repository_prefix(repository_id: str) -> str:
    """What the checkpoints of one repository begin with. The id's first characters are the time: those of one minute share them."""
    return f"{CHECKPOINT_PREFIX}{repository_id[-_REPOSITORY_CHARACTERS:]}-"


def attempt_of(checkpoint: str) -> str | None:
    """The attempt in a checkpoint's name; None when it is not ours."""
    if not checkpoint.startswith(CHECKPOINT_PREFIX):
        return None
    _, _, attempt = checkpoint.removeprefix(CHECKPOINT_PREFIX).partition("-")
    return attempt or None


@dataclass(frozen=True, slots=True)
class Places:
    """Where one attempt's files lie."""

    run: Path  # <run_dir>/captures/<attempt>: socket, frozen mark, guard's log
    scratch: Path  # <scratch_dir>/seawall-captures/<attempt>

    @property
    def socket(self) -> Path:
        """Made by QEMU."""
        return self.run / f"nbd{SOCKET_SUFFIX}"

    def image_socket(self, number: int) -> Path:
        """Made by a qemu-nbd of ours, for a disk of a VM that is off."""
        return self.run / f"{number}{SOCKET_SUFFIX}"

    @property
    def frozen_mark(self) -> Path:
        """Holds the VM's id while its file systems may be frozen."""
        return self.run / "frozen"

    @property
    def guard_log(self) -> Path:
        """What a guard says when it crashes; empty otherwise."""
        return self.run / "guard.log"

    def scratch_file(self, target: str) -> Path:
        """Made before the job; libvirt makes it where a disk's size is not known."""
        return self.scratch / f"{target}{SCRATCH_SUFFIX}"


def captures_dir(run_dir: Path) -> Path:
    """The folder whose sub-folders are captures, named by attempt."""
    return run_dir / "captures"


def scratches_dir(scratch_dir: Path) -> Path:
    """The same for scratch. Of a name of our own, as an operator may point `scratch_dir` at a folder that holds other things."""
    return scratch_dir / "seawall-captures"


def places(run_dir: Path, scratch_dir: Path, attempt_id: str) -> Places:
    """The places of one attempt."""
    return Places(captures_dir(run_dir) / attempt_id, scratches_dir(scratch_dir) / attempt_id)
