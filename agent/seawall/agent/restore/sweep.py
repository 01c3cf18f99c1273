"""Clearing up restores whose worker is dead: what is incomplete goes, what was complete stays and is remembered as restored."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from seawall.agent.disk.qemu_nbd_orphans import kill_servers
from seawall.agent.hypervisor.port import Domain
from seawall.agent.restore.unfinished import RestoreList, forget, noted, noted_attempts, restores_dir

NoteRestored = Callable[[str, str], None]
"""Attempt, VM ("" for files): it was restored to the end. Raises JournalUnusable; then the list stays for the next sweep."""


class Verdict(Enum):
    """What becomes of a dead restore."""

    COMPLETE = "complete"
    REMOVE = "remove"


@dataclass(slots=True)
class SweptRestores:
    """Sentences."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def judge(found: RestoreList, in_place: Collection[Path], domains: Sequence[Domain]) -> Verdict:
    """Pure. A VM that is defined on our files, or files that are all in place, are complete: they are flushed before they get their names.

    Such a VM may be in use since; nothing of it is ever removed.
    """
    used = any(Path(disk.source) in in_place for domain in domains for disk in domain.disks)
    if used:
        return Verdict.COMPLETE
    whole = bool(found.disks) and all(one.final in in_place for one in found.disks)
    return Verdict.COMPLETE if whole and not found.vm_id else Verdict.REMOVE


def sweep_restores(
    run_dir: Path,
    state_dir: Path,
    live_attempts: Collection[str],
    domains: Callable[[], Sequence[Domain]],
    note_restored: NoteRestored,
) -> SweptRestores:
    """Repeatable. `domains` is asked only where a file has its final name already. Raises OSError, HypervisorError, JournalUnusable."""
    swept = SweptRestores()
    folders = restores_dir(run_dir)
    sockets = {folder.name for folder in folders.iterdir()} if folders.is_dir() else set()
    for attempt in sorted((sockets | set(noted_attempts(state_dir))) - set(live_attempts)):
        ended = kill_servers(folders / attempt)
        swept.removed += [f"Ended the qemu-nbd at {socket} of restore {attempt}." for socket in ended]
        found = noted(state_dir, attempt)
        if found is not None:
            _settle(swept, found, domains, note_restored)
        forget(state_dir, run_dir, attempt)
    return swept


def _settle(
    swept: SweptRestores, found: RestoreList, domains: Callable[[], Sequence[Domain]], note_restored: NoteRestored
) -> None:
    in_place = {one.final for one in found.disks if one.in_place}
    verdict = judge(found, in_place, domains()) if in_place else Verdict.REMOVE
    if verdict is Verdict.COMPLETE:
        note_restored(found.attempt_id, found.vm_id)
        swept.kept.append(f"Restore {found.attempt_id} was complete when its worker ended.")
        in_place = set()
    for path in sorted(in_place):
        path.unlink(missing_ok=True)
        swept.removed.append(f"Removed the disk {path} of restore {found.attempt_id}, which was not complete.")
    for one in found.disks:
        if one.unfinished.is_file():
            one.unfinished.unlink()
            swept.removed.append(f"Removed the unfinished disk {one.unfinished} of restore {found.attempt_id}.")
    for folder in reversed(found.folders):
        with suppress(OSError):
            folder.rmdir()  # somebody else may have put something in; what is complete is in it, too
