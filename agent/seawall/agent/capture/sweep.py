"""The start-up sweep: what dead captures left on this host goes, what is foreign stays.

Ours is: a backup job that serves a socket in our run directory, files below our two directories, and checkpoints named seawall-*.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seawall.agent.capture.ending import end_job_at
from seawall.agent.capture.guard.stale import end_guards, is_guarded
from seawall.agent.capture.held import held_captures, let_go, noted_attempts
from seawall.agent.capture.leftovers import remove_places, thaw_marked
from seawall.agent.capture.names import attempt_of, captures_dir, places, scratches_dir
from seawall.agent.capture.together import sweep_groups
from seawall.agent.disk.qemu_nbd_orphans import kill_servers
from seawall.agent.errors import AgentError, VmNotFound
from seawall.agent.hypervisor.port import Domain, Hypervisor


@dataclass(slots=True)
class Swept:
    """Sentences."""

    removed: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)  # harms nobody; goes when its VM runs again
    failed: list[str] = field(default_factory=list)  # a frozen guest, a job: to be tried again soon
    held: set[str] = field(default_factory=set)  # attempts whose captures wait for another worker, or have one
    waiting: set[str] = field(default_factory=set)  # those of them that wait: looked at again soon


def sweep(
    hypervisor: Hypervisor, run_dir: Path, scratch_dir: Path, live_attempts: set[str], keep_checkpoints: set[str] | None
) -> Swept:
    """Remove the leftovers of all attempts but the live ones, and our checkpoints that no committed point needs.

    `keep_checkpoints`: those of committed points; None: nobody can tell, all stay. Losing one costs a compare, so what cannot be told is
    best kept. Raises HypervisorError when libvirt does not answer at all.
    """
    held = [one for one in held_captures(run_dir, live_attempts) if one.attempt_id not in live_attempts]
    swept = Swept(held={one.attempt_id for one in held})
    swept.waiting = {one.attempt_id for one in held if one.owner not in live_attempts}
    dead = _dead_attempts(run_dir, scratch_dir, live_attempts)
    _thaw(swept, hypervisor, run_dir, scratch_dir, dead)
    live_attempts, dead = live_attempts | swept.held, dead - swept.held
    swept.failed += [
        _frozen(one) for one in sorted(swept.held) if places(run_dir, scratch_dir, one).frozen_mark.exists()
    ]
    for domain in hypervisor.domains():
        _sweep_domain(swept, hypervisor, domain, run_dir, live_attempts, keep_checkpoints)
    for attempt in sorted(dead):
        where = places(run_dir, scratch_dir, attempt)
        if where.frozen_mark.exists():
            swept.failed.append(_frozen(attempt))
            continue
        if is_guarded(where.run):
            swept.failed.append(f"The guard of attempt {attempt} still waits for a job that its worker had asked for.")
            continue
        swept.removed += [f"Ended the qemu-nbd at {socket} of attempt {attempt}." for socket in kill_servers(where.run)]
        remove_places(where)
        let_go(run_dir, attempt)
        swept.removed.append(f"Removed socket and scratch of attempt {attempt}.")
    sweep_groups(run_dir)
    return swept


def sweep_vm(hypervisor: Hypervisor, vm_id: str, run_dir: Path, attempt_id: str) -> list[str]:
    """Before a capture: end a job that an earlier attempt of ours left on this VM. One VM has one attempt at a time."""
    domain = hypervisor.domain(vm_id)
    return list(_end_dead_job(hypervisor, domain, run_dir, {attempt_id}))


def _dead_attempts(run_dir: Path, scratch_dir: Path, live: Collection[str]) -> set[str]:
    found = {
        path.name
        for folder in (captures_dir(run_dir), scratches_dir(scratch_dir))
        if folder.is_dir()
        for path in folder.iterdir()
    }
    return (found | noted_attempts(run_dir)) - set(live)


def _thaw(swept: Swept, hypervisor: Hypervisor, run_dir: Path, scratch_dir: Path, dead: Collection[str]) -> None:
    """First of all: a frozen guest stands still."""
    marks = (places(run_dir, scratch_dir, attempt).frozen_mark for attempt in sorted(dead))
    thawed = [thaw_marked(hypervisor, mark) for mark in marks]
    swept.removed += [f"Thawed VM {vm_id}." for vm_id in thawed if vm_id]


def _frozen(attempt: str) -> str:
    return f"The guest that attempt {attempt} froze does not answer, and may be frozen still."


def _sweep_domain(
    swept: Swept,
    hypervisor: Hypervisor,
    domain: Domain,
    run_dir: Path,
    live: Collection[str],
    keep: Collection[str] | None,
) -> None:
    """One VM's trouble does not stop the sweep of others."""
    try:
        swept.removed += _end_dead_job(hypervisor, domain, run_dir, live)
        if keep is not None:
            _delete_orphans(swept, hypervisor, domain, live, keep)
    except VmNotFound:
        return  # it went meanwhile, and its job and checkpoints with it
    except AgentError as error:
        swept.failed.append(f"VM {domain.name}: could not clean up: {error}")


def _end_dead_job(hypervisor: Hypervisor, domain: Domain, run_dir: Path, live: Collection[str]) -> Iterator[str]:
    if domain.state == "shut off":
        return
    socket = hypervisor.active_backup_socket(domain.vm_id)
    if socket is None or socket.parent.parent != captures_dir(run_dir) or socket.parent.name in live:
        return
    if end_job_at(hypervisor, domain.vm_id, socket):
        end_guards(socket.parent)  # which would end the next job, if it looked before this one ended and acted after
        yield f"Ended the backup job of attempt {socket.parent.name} on VM {domain.name}."


def _delete_orphans(
    swept: Swept, hypervisor: Hypervisor, domain: Domain, live: Collection[str], keep: Collection[str]
) -> None:
    for checkpoint in hypervisor.checkpoints(domain.vm_id):
        attempt = attempt_of(checkpoint.name)
        if attempt is None or attempt in live or checkpoint.name in keep:
            continue
        if domain.state == "shut off":
            swept.later.append(f"Checkpoint {checkpoint.name} of VM {domain.name} goes when the VM runs again.")
            continue
        hypervisor.delete_checkpoint(domain.vm_id, checkpoint.name)
        swept.removed.append(
            f"Deleted checkpoint {checkpoint.name} of VM {domain.name}: its point was never committed."
        )
