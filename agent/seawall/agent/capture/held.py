"""What a capture notes down so that another worker of the same run can go on with its instant, should its own worker be killed.

`<run_dir>/held/<attempt>.json`, for root alone: it holds what the point holds beside the disks. Written once the job runs, closed before
the hand-in, removed at the capture's end. A note counts only while a guard looks after its job: the guard ends that when its time is over.
"""

import base64
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seawall.agent.capture.guard.stale import is_guarded
from seawall.agent.capture.names import captures_dir
from seawall.agent.capture.port import CaptureRequest
from seawall.repository.format.checkpoint import Checkpoint

MODE = 0o700


@dataclass(frozen=True, slots=True)
class HeldDisk:
    """As in CapturedDisk, without its source."""

    target: str
    size_bytes: int
    format: str
    source_path: str
    sector_bytes: int
    how: str
    why: str
    source_id: str


@dataclass(frozen=True, slots=True)
class HeldCapture:
    """`attempt_id` began it and names its folders; `owner` reads it now, or did last."""

    attempt_id: str
    owner: str
    run_id: str
    vm_id: str
    repository_id: str
    parent_point_id: str  # whose bitmap tells what is dirty; "" for none
    exclude_disks: tuple[str, ...]
    instant_us: int
    guest_frozen: bool
    warnings: tuple[tuple[str, str], ...]
    disks: tuple[HeldDisk, ...]
    checkpoint: Checkpoint | None
    members: Mapping[str, bytes]
    open: bool = True  # False: its owner hands in; then nobody goes on with it, but a sweep sees whose it is


def hold(run_dir: Path, held: HeldCapture) -> None:
    """Write it down. Raises OSError; then a worker's death costs the instant, as ever."""
    folder = _held_dir(run_dir)
    folder.mkdir(mode=MODE, parents=True, exist_ok=True)
    members = {name: base64.b64encode(body).decode() for name, body in held.members.items()}
    new = folder / f"{held.attempt_id}.new"
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(replace(held, members={})) | {"members": members}, file)
    new.replace(folder / f"{held.attempt_id}.json")


def let_go(run_dir: Path, attempt_id: str) -> None:
    """Nobody shall go on with it. Never raises."""
    folder = _held_dir(run_dir)
    with suppress(OSError):
        for ending in ("json", "new"):
            (folder / f"{attempt_id}.{ending}").unlink(missing_ok=True)
        folder.rmdir()


def held_captures(run_dir: Path, live: Collection[str] = ()) -> list[HeldCapture]:
    """Captures that have a worker (of a live attempt), or wait for another one: each has a note and a guard that works."""
    noted = (one for one in _all(run_dir) if one.open or one.owner in live)
    return [one for one in noted if is_guarded(captures_dir(run_dir) / one.attempt_id)]


def noted_attempts(run_dir: Path) -> set[str]:
    """All that have a note, guarded or not."""
    folder = _held_dir(run_dir)
    return {path.stem for path in folder.iterdir()} if folder.is_dir() else set()


def held_by(run_dir: Path, owner: str) -> bool:
    """Whether this attempt's worker read a capture that another one had begun."""
    return any(one.owner == owner for one in _all(run_dir))


def find_held(run_dir: Path, request: CaptureRequest) -> HeldCapture | None:
    """What an earlier worker of the same run left, if it was compared with the same parent and has the disks that are asked for.

    A frozen instant that was asked for must have been frozen.
    """
    parent = request.parent.point_id if request.parent is not None else ""
    wanted = (request.run_id, request.vm_id, request.repository_id, parent, tuple(request.exclude_disks))
    for one in _all(run_dir):
        found = (one.run_id, one.vm_id, one.repository_id, one.parent_point_id, one.exclude_disks)
        if one.open and request.run_id and found == wanted and (one.guest_frozen or request.freeze != "require"):
            return one
    return None


def _all(run_dir: Path) -> Iterator[HeldCapture]:
    folder = _held_dir(run_dir)
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        with suppress(OSError, ValueError, KeyError, TypeError):  # a note that cannot be read is none: its job is swept
            yield _parsed(json.loads(path.read_text(encoding="utf-8")))


def _parsed(value: dict[str, object]) -> HeldCapture:
    fields = dict(value)
    fields["disks"] = tuple(HeldDisk(**disk) for disk in _rows(value["disks"]))
    fields["warnings"] = tuple((str(reason), str(message)) for reason, message in _rows(value["warnings"]))
    fields["exclude_disks"] = tuple(_rows(value["exclude_disks"]))
    fields["members"] = {name: base64.b64decode(body) for name, body in _object(value["members"]).items()}
    if value["checkpoint"] is not None:
        checkpoint = _object(value["checkpoint"])
        fields["checkpoint"] = Checkpoint(**checkpoint | {"disks": tuple(checkpoint["disks"])})
    return HeldCapture(**fields)  # type: ignore[arg-type]  # ours wrote it; what differs raises TypeError


def _rows(value: object) -> list:  # type: ignore[type-arg]
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _object(value: object) -> dict:  # type: ignore[type-arg]
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _held_dir(run_dir: Path) -> Path:
    return run_dir / "held"
