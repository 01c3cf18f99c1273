"""What a hostile agent hands in: root and refmap mutated and sealed anew. Refused with a reason, or what was asked for."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.controller.errors import DataLoss, InvalidArgument
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.publishing.handin import HandIn, read_hand_in
from seawall.controller.records.catalogue import PointDisk
from seawall.controller.records.runs import Attempt, ReadMethod, Run
from seawall.controller.repositories.opened import OpenedRepository
from seawall.repository.crypto.aead import new_nonce, seal_box
from seawall.repository.crypto.sealing import seal_to
from seawall.repository.format.layout import HandInKind, hand_in_name
from seawall.repository.format.root import Root, encode_root
from seawall.repository.format.root_object import data_key_binding, root_front
from seawall.repository.store.memory import MemoryStore
from support.controller_records import a_repository, an_execution
from support.mutations import Step, mutated, steps
from support.rescue_world import MIB, RescueWorld, patterned

ATTEMPT = "33333333-3333-4333-8333-333333333333"
KINDS: tuple[HandInKind, ...] = ("root", "refmap")


class Desk:
    """A repository with one point's root and refmap, and a run that hands in the likes of them."""

    def __init__(self, index: ChunkIndex) -> None:
        self.world = RescueWorld(MemoryStore())
        self.point_id = self.world.back_up(1, {"vda": patterned(MIB, 1, (0, 4096))})
        self.root: Root = self.world.readers[self.point_id].root
        self.refmap = self.world.store.get(f"v1/r/default/{self.root.vm_id}/{self.point_id}")
        self.opened = OpenedRepository(a_repository(), self.world.repository, index)
        execution = an_execution()
        self.run: Run = replace(execution.run, id=self.point_id, vm_id=self.root.vm_id)
        self.attempt: Attempt = replace(execution.attempt, id=ATTEMPT, parent_point_id="")

    def sealed(self, body: bytes) -> bytes:
        """A root object around any bytes, as whoever has the repository's public key can make it."""
        front = root_front(self.root, self.world.secrets.repository_public_key)
        key = secrets.token_bytes(32)
        start = front + seal_to(self.world.secrets.repository_public_key, key, data_key_binding(front))
        return start + seal_box(key, new_nonce(), body, start)

    def hand_in(self, root_object: bytes, refmap: bytes) -> None:
        hashes = [blake3(body).digest() for body in (root_object, refmap)]
        for what, digest, body in zip(KINDS, hashes, (root_object, refmap), strict=True):
            self.world.store.put(hand_in_name(self.attempt.id, what, digest), body, create_only=False)
        disks = (PointDisk("vda", MIB, "qcow2", 0, 0, 0, ReadMethod.FULL, "", 0),)
        told = HandIn(hashes[0], hashes[1], self.root.instant_us, False, disks, (), None)
        handed = read_hand_in(self.opened, self.run, self.attempt, told)
        named = (handed.root.tenant, handed.root.vm_id, handed.root.point_id, handed.root.parent_point_id)
        assert named == ("default", self.run.vm_id, self.run.id, "")
        assert [(disk.disk, disk.size_bytes) for disk in handed.root.disks] == [("vda", MIB)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    index = ChunkIndex.open(tmp_path_factory.mktemp("index"))
    yield Desk(index)
    index.close()


def test_what_was_asked_for_is_taken(desk: Desk) -> None:
    desk.hand_in(desk.sealed(encode_root(desk.root)), desk.refmap)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["root", "root object", "refmap", "refmap, hashed"]), steps())
def test_mutated_hand_ins(desk: Desk, what: str, changes: list[Step]) -> None:
    root, refmap = encode_root(desk.root), desk.refmap
    if what == "root":
        root_object = desk.sealed(mutated(root, changes))
    else:
        whole = desk.sealed(root)
        root_object = mutated(whole, changes) if what == "root object" else whole
    if what == "refmap":
        refmap = mutated(refmap, changes)
    if what == "refmap, hashed":
        content = mutated(refmap[:-32], changes)
        refmap = content + blake3(content).digest()
    try:
        desk.hand_in(root_object, refmap)
    except (InvalidArgument, DataLoss) as refusal:
        assert refusal.reason in ("BAD_ROOT", "BAD_REFMAP") and str(refusal)
