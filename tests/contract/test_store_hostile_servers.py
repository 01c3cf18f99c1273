"""Two real servers that do not keep their word: the JuiceFS gateway ignores `If-None-Match`, Swift lets several writers win.

What `repo add` must find in them, exactly; and that a repository in either reads back right or not at all.
"""

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deploy.free_ports import free_ports
from deploy.s3.juicefs_gateway import JuiceFSGateway
from deploy.s3.seaweedfs import PORTS
from deploy.s3.swift import SwiftS3

from seawall.repository.errors import ObjectExists
from seawall.repository.reading.restore import restore_disk
from seawall.repository.rescue.catalogue import read_catalogue
from seawall.repository.rescue.opening import open_for_rescue
from seawall.repository.store.location import S3Credentials, S3Location
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import PROBE_PREFIX, probe
from seawall.repository.store.s3 import S3Store, create_bucket
from support.controller_application import configured, running
from support.memory_disks import MemorySink
from support.operator_words import Operator
from support.rescue_world import MIB, RescueWorld, patterned

pytestmark = pytest.mark.slow
SECRET = "a-secret-of-tests"


@dataclass(frozen=True)
class Hostile:
    """A running server, and what the probe has to say of it."""

    server: SwiftS3 | JuiceFSGateway
    keys: S3Credentials
    kept: frozenset[str]
    warned: tuple[str, ...]

    def bucket(self) -> S3Store:
        location = S3Location(f"b{uuid.uuid4().hex[:10]}", endpoint=self.server.endpoint)
        create_bucket(location, self.keys)
        return S3Store(location, self.keys)


ATOMIC = "The store lets several writers create the same object at once: only one controller may write to it."
OVERWRITES = (
    "The store overwrites objects although it is asked to create them only: switch on versioning or Object Lock."
)


@pytest.fixture(scope="module", params=["swift", "juicefs"])
def hostile(request: pytest.FixtureRequest) -> Iterator[Hostile]:
    user = {"swift": "test:tester", "juicefs": "testuser"}[request.param]
    with tempfile.TemporaryDirectory(prefix="seawall-hostile-") as directory:
        place = (Path(directory) / "server", "127.0.0.1", free_ports(PORTS), user, SECRET)
        server = SwiftS3(*place) if request.param == "swift" else JuiceFSGateway(*place)
        server.start()
        try:
            keys = S3Credentials(user, SECRET)
            if request.param == "swift":
                yield Hostile(server, keys, frozenset({"create_only", "md5_checked", "signed_condition"}), (ATOMIC,))
            else:
                yield Hostile(server, keys, frozenset({"md5_checked", "signed_condition"}), (OVERWRITES, ATOMIC))
        finally:
            server.stop()


def test_the_probe_finds_what_it_does_not_keep(hostile: Hostile) -> None:
    store = hostile.bucket()
    names = ("create_only", "create_only_atomic", "md5_checked", "signed_condition")
    with PresignedClient() as client:
        for _ in range(3):
            found = probe(store, client)
            assert {name for name in names if getattr(found, name)} == hostile.kept
            assert found.warnings == hostile.warned
    assert list(store.list(PROBE_PREFIX)) == []


def test_the_operator_is_told(hostile: Hostile, tmp_path: Path) -> None:
    store = hostile.bucket()
    keys = {"AWS_ACCESS_KEY_ID": hostile.keys.access_key, "AWS_SECRET_ACCESS_KEY": hostile.keys.secret_key}
    with running(configured(tmp_path / "state")) as controller:
        operator = Operator(controller.config.operator_toml, keys)
        words: tuple[str | Path, ...] = ("repo", "add", "main", store.url, "--recovery-key", tmp_path / "sheet.txt")
        if "create_only" not in hostile.kept:
            code, reason, message = operator.refused(*words)
            assert (code, reason) == (5, "STORE_UNSAFE")
            assert OVERWRITES in message and "--accept-unsafe-store" in message
            assert list(store.list("")) == [] and not (tmp_path / "sheet.txt").exists()
            words = (*words, "--accept-unsafe-store")
        added = operator(*words)
        assert added.code == 0
        told = operator("repo", "show", "main")
        assert all(" ".join(warning.split()[:6]) in " ".join(told.out.split()) for warning in hostile.warned), told.out


def test_a_repository_in_it_reads_back(hostile: Hostile) -> None:
    disk = patterned(3 * MIB, 3, (0, MIB), (2 * MIB, 8192))
    world = RescueWorld(hostile.bucket())
    for number in (1, 2):
        world.back_up(number, {"vda": disk})
    rescue = open_for_rescue(world.store, world.material)
    found = read_catalogue(rescue)
    assert (len(found.points), found.damaged) == (2, ())
    for point in found.points:
        sink = MemorySink(disk.size_bytes)
        opened = rescue.point(point.name)
        restore_disk(opened.reader, opened.root.disks[0], sink)
        assert sink.content() == disk.blocks
    name = world.manifest_name(found.points[0].name.point_id)
    body = world.store.get(name)
    if "create_only" in hostile.kept:
        with pytest.raises(ObjectExists):
            world.store.put(name, b"another's")
    assert world.store.get(name) == body
