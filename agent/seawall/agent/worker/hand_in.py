"""Putting a point's root and refmap where the controller finds them: under v1/a/<attempt>/. Called by `backup`."""

from dataclasses import dataclass

from blake3 import blake3

from seawall.agent.control.client import HandIn
from seawall.agent.worker.task import Task
from seawall.repository.store.signed_headers import md5_of
from seawall.repository.writing.facts import WrittenPoint


@dataclass(frozen=True, slots=True)
class HandedIn:
    """BLAKE3 of the two objects."""

    root_hash: bytes
    refmap_hash: bytes


def hand_in(task: Task, point: WrittenPoint) -> HandedIn:
    """Raises the client's errors and the store's."""
    task.reporter.phase("handing in")
    return HandedIn(_put(task, point.root_object, root=True), _put(task, point.refmap, root=False))


def _put(task: Task, body: bytes, *, root: bool) -> bytes:
    digest = blake3(body).digest()
    item = HandIn(root, len(body), md5_of(body), digest)
    task.coordinator.put_signed(lambda: task.client.seal_hand_in(item), body)
    return digest
