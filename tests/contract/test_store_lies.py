"""A store that lies, over every adapter: the probe refuses it or warns, exactly; and what was backed up into one is never read wrong."""

from collections.abc import Iterator

import pytest

from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError
from seawall.repository.reading.restore import restore_disk
from seawall.repository.rescue.catalogue import read_catalogue
from seawall.repository.rescue.opening import open_for_rescue
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import Store
from seawall.repository.store.presigned import PresignedClient
from seawall.repository.store.probe import PROBE_PREFIX, StoreUnfit, probe
from support.lying_store import LIES, LyingStore
from support.memory_disks import MemorySink
from support.rescue_world import MIB, RescueWorld, patterned

UNFIT = {
    "loses": "lost an object that it had just taken",
    "forgets": "lost an object that it had just taken",
    "shortens": "sends other bytes than it was given",
    "flips": "sends other bytes than it was given",
    "sends another object": "sends other bytes than it was given",
    "misplaces ranges": "sends other bytes of a range",
    "hides the last": "does not list what it holds",
    "hides all": "does not list what it holds",
    "lists the removed": "lists what it has removed",
    "keeps the removed": "lists what it has removed",
}
WARNED = {"overwrites": ["create_only", "create_only_atomic"], "lets several win": ["create_only_atomic"]}


def make_store(kind: str, request: pytest.FixtureRequest) -> Store:
    if kind == "memory":
        return MemoryStore()
    if kind == "folder":
        return FolderStore(request.getfixturevalue("tmp_path"))
    store: Store = request.getfixturevalue("s3_store")
    return store


@pytest.fixture(params=["folder", "s3"])
def reachable(request: pytest.FixtureRequest) -> Store:
    """Adapters whose signed URLs lead somewhere."""
    return make_store(request.param, request)


@pytest.fixture
def client() -> Iterator[PresignedClient]:
    with PresignedClient() as client:
        yield client


@pytest.mark.parametrize("lie", UNFIT)
def test_the_probe_refuses_a_store_that_nothing_can_be_kept_in(
    reachable: Store, client: PresignedClient, lie: str
) -> None:
    store = LyingStore(reachable, lie, lambda name: "probe" in name)
    with pytest.raises(StoreUnfit, match=UNFIT[lie]) as caught:
        probe(store, client)
    assert reachable.url in str(caught.value) and "choose another store" in str(caught.value)


@pytest.mark.parametrize("lie", WARNED)
def test_the_probe_warns_of_conditions_that_are_not_kept(reachable: Store, client: PresignedClient, lie: str) -> None:
    found = probe(LyingStore(reachable, lie), client)
    walls = [] if reachable.url.startswith("file:") else ["signed_condition"]
    kept = {"create_only", "create_only_atomic", "md5_checked"} - set(WARNED[lie]) | set(walls)
    names = ("create_only", "create_only_atomic", "md5_checked", "signed_condition")
    assert {name for name in names if getattr(found, name)} == kept
    assert len(found.warnings) == len(names) - len(kept)
    assert list(reachable.list(PROBE_PREFIX)) == []


def test_every_lie_but_one_is_noticed_when_a_repository_is_added() -> None:
    """The first version of a name that is used twice: Seawall uses none twice."""
    assert set(LIES) - set(UNFIT) - set(WARNED) == {"sends the first version"}


@pytest.mark.parametrize("kind", ["memory", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("folder", "s3"))])
@pytest.mark.parametrize("lie", LIES)
def test_what_comes_out_of_a_lying_store_is_right_or_refused(
    lie: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """It began to lie after the repository was made: about packs, and about manifests of one VM of two."""
    honest = make_store(kind, request)
    disk = patterned(3 * MIB, 7, (0, MIB), (2 * MIB, 4096))
    world = RescueWorld(honest)
    lying = LyingStore(honest, lie, lambda name: name.startswith(("v1/p/", "v1/m/")))
    world.store, world.coordinator.store = lying, lying
    for number in (1, 2):
        try:
            world.back_up(number, {"vda": disk})
        except (RepositoryError, AssertionError) as error:  # a writer that looks at what it wrote says so
            assert isinstance(error, RepositoryError) or "stored twice" in str(error)
    try:
        rescue = open_for_rescue(lying, world.material)
    except RepositoryError as error:
        assert lie in ("hides the last", "hides all") and "v1/keys/" in str(error)
        return
    found = read_catalogue(rescue)
    for point in found.points:
        manifest = world.readers[point.name.point_id].root.disks[0]
        sink = MemorySink(manifest.size_bytes)
        try:
            restore_disk(rescue.point(point.name).reader, manifest, sink)
        except (IntegrityError, ObjectMissing) as error:
            assert "v1/" in str(error)
        else:
            assert sink.content() == dict(disk.blocks), "wrong bytes"
    for damaged in found.damaged:
        assert damaged.object_name.startswith("v1/") and damaged.error
