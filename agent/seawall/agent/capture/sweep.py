"""The start-up sweep: what dead captures left on this host goes, what is foreign stays.

Ours is: a backup job that serves a socket in our run directory, files below our two directories, and checkpoints named seawall-*.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from seawall.agent.capture.leftovers import end_job_at, remove_places, thaw_marked
from seawall.agent.capture.names import attempt_of, captures_dir, places, scratches_dir
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Domain, Hypervisor


def sweep(
    hypervisor: Hypervisor, run_dir: Path, scratch_dir: Path, live_attempts: set[str], keep_checkpoints: set[str]
) -> list[str]:
    """Remove the leftovers of all attempts but the live ones, and our checkpoints that no committed point needs.

    Returns a sentence for each thing removed and for each that could not be (the next sweep tries again). `keep_checkpoints`: those of
    committed points. Losing one costs a compare, so what cannot be told is best kept.
    """
    dead = _dead_attempts(run_dir, scratch_dir, live_attempts)
    done = _thaw(hypervisor, run_dir, scratch_dir, dead)
    for domain in hypervisor.domains():
        done += _trying(domain, _end_dead_job(hypervisor, domain, run_dir, live_attempts))
        done += _trying(domain, _delete_orphans(hypervisor, domain, live_attempts, keep_checkpoints))
    for attempt in sorted(dead):
        where = places(run_dir, scratch_dir, attempt)
        if where.frozen_mark.exists():
            done.append(f"The guest that attempt {attempt} froze does not answer; it is thawed at the next sweep.")
            continue
        remove_places(where)
        done.append(f"Removed socket and scratch of attempt {attempt}.")
    return done


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
    return found - set(live)


def _thaw(hypervisor: Hypervisor, run_dir: Path, scratch_dir: Path, dead: Collection[str]) -> list[str]:
    """First of all: a frozen guest stands still."""
    marks = (places(run_dir, scratch_dir, attempt).frozen_mark for attempt in sorted(dead))
    thawed = (thaw_marked(hypervisor, mark) for mark in marks)
    return [f"Thawed VM {vm_id}." for vm_id in thawed if vm_id]


def _end_dead_job(hypervisor: Hypervisor, domain: Domain, run_dir: Path, live: Collection[str]) -> Iterator[str]:
    if domain.state == "shut off":
        return
    socket = hypervisor.active_backup_socket(domain.vm_id)
    if socket is None or socket.parent.parent != captures_dir(run_dir) or socket.parent.name in live:
        return
    if end_job_at(hypervisor, domain.vm_id, socket):
        yield f"Ended the backup job of attempt {socket.parent.name} on VM {domain.name}."


def _delete_orphans(
    hypervisor: Hypervisor, domain: Domain, live: Collection[str], keep: Collection[str]
) -> Iterator[str]:
    for checkpoint in hypervisor.checkpoints(domain.vm_id):
        attempt = attempt_of(checkpoint.name)
        if attempt is None or attempt in live or checkpoint.name in keep:
            continue
        if domain.state == "shut off":
            yield f"Checkpoint {checkpoint.name} of VM {domain.name} goes when the VM runs again."
            continue
        hypervisor.delete_checkpoint(domain.vm_id, checkpoint.name)
        yield f"Deleted checkpoint {checkpoint.name} of VM {domain.name}: its point was never committed."


def _trying(domain: Domain, steps: Iterator[str]) -> list[str]:
    """The sentences up to the end or a failure, and the failure: one VM's trouble does not stop the sweep of others."""
    done: list[str] = []
    try:
        done.extend(steps)
    except AgentError as error:
        done.append(f"VM {domain.name}: could not clean up: {error}")
    return done
