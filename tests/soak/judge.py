"""Right or wrong: what may not be in the evidence of a round. Pure; each finding is a sentence that says what and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .evidence import DiskVerdict, Evidence, GuestLook, Interval, PointLook, RunLook
from .stalls import freezes, stalls, unexplained_seconds, write_errors

FREEZE_LIMIT_MS = 10_000
STALL_LIMIT_MS = 20_000
"""A guest that can write does so 8 to 60 times a second; emulated on a busy machine it may take its time."""

AFTERMATH_SECONDS = 3.0
"""After a fault is undone, before what it held up goes on."""

GENERIC = ("", "INTERNAL_ERROR", "AGENT_ERROR", "REPOSITORY_ERROR", "UNKNOWN")


@dataclass(frozen=True)
class Findings:
    """What is wrong in a round, and how long its guests stood at the worst, in ms, explained time taken off."""

    wrong_bytes: int = 0
    wrong_points: tuple[str, ...] = ()
    write_errors: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    longest_freeze_ms: int = 0
    longest_stall_ms: int = 0

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.wrong_points, *self.write_errors, *self.freezes, *self.leftovers, *self.broken)


def judge(evidence: Evidence) -> Findings:
    """All that is wrong in it."""
    wrong = [sentence for look in evidence.points for sentence in _wrong_in(look)]
    freeze_ms = {guest.name: _longest_freeze_ms(guest) for guest in evidence.guests}
    stall_ms = {guest.name: _longest_stall_ms(guest) for guest in evidence.guests}
    too_long = [f"{name} was frozen for {ms} ms" for name, ms in freeze_ms.items() if ms > FREEZE_LIMIT_MS]
    too_long += [f"{name} wrote nothing for {ms} ms" for name, ms in stall_ms.items() if ms > STALL_LIMIT_MS]
    too_long += [f"{guest.name} is frozen still" for guest in evidence.guests if _frozen_at_the_end(guest)]
    errors = [f"{guest.name}: {said}" for guest in evidence.guests for said in write_errors(guest.lines)]
    return Findings(
        sum(disk.wrong_bytes for look in evidence.points for disk in look.disks.values()),
        tuple(wrong),
        tuple(errors),
        tuple(too_long),
        evidence.leftovers,
        (*evidence.trouble, *_wrong_runs(evidence)),
        max(freeze_ms.values(), default=0),
        max(stall_ms.values(), default=0),
    )


def _wrong_in(look: PointLook) -> Iterator[str]:
    where = f"point {look.point_id} of {look.vm}"
    for target in look.known.disks.keys() - look.disks.keys():
        yield f"{where} lacks {target}"
    for target in look.doubted:
        yield f"{where}: the bitmap of {target} called clean what had changed, and nobody exchanged its file"
    for target, disk in look.disks.items():
        if disk.wrong_bytes:
            yield f"{where}: {target} has {disk.wrong_bytes} wrong bytes, the first at {disk.first}, after operation {disk.done}"
        wanted = look.known.disks.get(target)
        if wanted is not None and disk.disk_id != wanted:
            yield f"{where}: {target} is disk {disk.disk_id}, not {wanted}"
        elif wanted is not None and disk.length_bytes not in look.known.lengths[wanted]:
            yield f"{where}: {target} is {disk.length_bytes} bytes long, not {sorted(look.known.lengths[wanted])}"
        if disk.done < look.known.done.get(disk.disk_id, 0):
            yield f"{where}: {target} ends with operation {disk.done}; {look.known.done[disk.disk_id]} were done before it was asked for"
    yield from _wrong_instants(where, look.disks)


def _wrong_instants(where: str, disks: Mapping[str, DiskVerdict]) -> Iterator[str]:
    """The newest operation of all knows what was done on the other disks: nothing more, and nothing less."""
    if not disks:
        return
    newest = max(disks.values(), key=lambda disk: disk.count)
    for target, disk in disks.items():
        wanted = newest.peers.get(disk.disk_id)
        if wanted is not None and wanted != disk.done:
            yield f"{where}: {target} is of another instant: {disk.done} operations, {wanted} when its newest was made"


def _longest_freeze_ms(guest: GuestLook) -> int:
    """Where a guest was stopped, or nobody could reach it, while it was frozen, that time is not the freeze's."""
    excuses = _with_aftermath((*guest.absent, *guest.deaf))
    longest = 0.0
    for freeze in freezes(guest):
        seen_seconds = freeze.interval.ended - freeze.interval.began
        excused_ms = (seen_seconds - unexplained_seconds(freeze.interval, excuses)) * 1000
        longest = max(longest, freeze.held_ms - excused_ms)
    return max(0, round(longest))


def _longest_stall_ms(guest: GuestLook) -> int:
    excuses = _with_aftermath((*guest.absent, *(freeze.interval for freeze in freezes(guest))))
    return max((round(unexplained_seconds(stall, excuses) * 1000) for stall in stalls(guest)), default=0)


def _with_aftermath(excuses: tuple[Interval, ...]) -> list[Interval]:
    return [Interval(one.began, one.ended + AFTERMATH_SECONDS) for one in excuses]


def _frozen_at_the_end(guest: GuestLook) -> bool:
    found = freezes(guest)
    return bool(found) and not found[-1].thawed and found[-1].interval.ended >= guest.ended


def _wrong_runs(evidence: Evidence) -> Iterator[str]:
    for run in evidence.runs:
        if run.state == "failed" and not _tells(run):
            yield f"run {run.run_id} ({run.what}) failed without telling why: {dict(run.failure)}"
        if not run.succeeded and run.state not in ("failed", "canceled"):
            yield f"run {run.run_id} ({run.what}) is {run.state} after all faults were undone"
    backups = [run for run in evidence.runs if run.point_id and run.what != "restore"]
    made = {run.point_id for run in backups if run.succeeded and not run.deleted}
    yield from (f"point {one} is gone" for one in sorted(made - evidence.points_there))
    yield from (f"point {one} is there, of no run that succeeded" for one in sorted(evidence.points_there - made))
    looked_at = {look.point_id for look in evidence.points if look.disks}
    yield from (f"point {one} was never compared" for one in sorted(made & evidence.points_there - looked_at))


def _tells(run: RunLook) -> bool:
    failure = run.failure
    return (
        failure.get("reason", "") not in GENERIC
        and len(failure.get("message", "")) > 10
        and bool(failure.get("next_step"))
    )
