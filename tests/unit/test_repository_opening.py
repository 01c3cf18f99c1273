"""Creating and opening a repository on a store: crashes at every step, strangers, wrong keys, damage."""

from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.crypto.keys import new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.crypto.signing import CONFIG_DOMAIN
from seawall.repository.errors import (
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    StoreUnavailable,
    WrongKey,
)
from seawall.repository.format.config import encode_config, new_config
from seawall.repository.format.layout import (
    config_name,
    key_name,
    manifest_name,
    pack_name,
    refmap_name,
    tombstone_name,
)
from seawall.repository.format.record import ChunkType
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import seal_root
from seawall.repository.repository import OpenRepository, create_repository, open_repository
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import Store
from support import format_samples as samples
from support.newer_objects import newer_signed, version_2

CONTROLLER, RECOVERY = samples.RECIPIENT_SECRETS["controller"], samples.RECIPIENT_SECRETS["recovery"]
OTHER_POINT = "6f1f7d3e-0000-4000-8000-00000000000f"


class DyingStore(MemoryStore):
    """Dies at the n-th PUT, before or after it was done."""

    def __init__(self, at: int, after: bool) -> None:
        super().__init__()
        self.left, self.after = at, after

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StoreUnavailable("died before the PUT")
        super().put(name, body, create_only=create_only)
        if self.left == 0:
            raise StoreUnavailable("died after the PUT")


def create(store: Store, **changes: object) -> OpenRepository:
    arguments: dict[str, object] = {
        "lineage_id": samples.LINEAGE,
        "chunk_nominal_bytes": 65536,
        "recipients": samples.RECIPIENTS,
        "secrets": samples.SECRETS,
    }
    return create_repository(store, **(arguments | changes))  # type: ignore[arg-type]


def content(store: Store) -> dict[str, bytes]:
    return {info.name: store.get(info.name) for info in store.list("")}


@pytest.fixture
def repository() -> OpenRepository:
    return create(MemoryStore())


def test_every_recipient_opens_it(repository: OpenRepository) -> None:
    assert sorted(content(repository.store)) == [
        "v1/config",
        "v1/config.1",
        "v1/config.2",
        "v1/keys/default/1.controller",
        "v1/keys/default/1.recovery",
    ]
    pin = samples.SECRETS.signing_public_key
    for wrapper, secret in samples.RECIPIENT_SECRETS.items():
        opened = open_repository(repository.store, wrapper, secret, pinned_signing_key=pin)
        assert (opened.config, opened.secrets) == (repository.config, samples.SECRETS)
    assert opened.config.chunk_nominal_bytes == 65536


def test_several_tenants_and_epochs_open_together() -> None:
    first = new_secrets(("a", "b"))
    secrets = replace(first, dedup_keys={**first.dedup_keys, ("a", 2): b"\x01" * 32})
    store = create(MemoryStore(), secrets=secrets).store
    opened = open_repository(store, "recovery", RECOVERY)
    assert opened.secrets == secrets
    assert (opened.secrets.newest_epoch("a"), opened.secrets.newest_epoch("b")) == (2, 1)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 6))
def test_creation_continues_after_a_crash_at_every_step(at: int, after: bool) -> None:
    store = DyingStore(at, after)
    with pytest.raises(StoreUnavailable):
        create(store)
    committed = config_name() in content(store)
    if not committed:
        with pytest.raises(ObjectMissing, match="no Seawall repository here"):
            open_repository(store, "controller", CONTROLLER)
    create(store)
    assert len(content(store)) == 5
    before = content(store)
    create(store)
    assert content(store) == before
    assert open_repository(store, "recovery", RECOVERY).secrets == samples.SECRETS


def test_another_repository_is_left_alone(repository: OpenRepository) -> None:
    before = content(repository.store)
    for change in (
        {"secrets": new_secrets()},
        {"lineage_id": b"x" * 16},
        {"chunk_nominal_bytes": 131072},
    ):
        with pytest.raises(ForeignRepository, match="another repository lives here"):
            create(repository.store, **change)
    assert content(repository.store) == before


def test_an_unfinished_creation_with_other_secrets_is_not_taken_over() -> None:
    store = DyingStore(2, after=True)
    with pytest.raises(StoreUnavailable):
        create(store)
    before = content(store)
    with pytest.raises(ForeignRepository, match="v1/keys/"):
        create(store, secrets=new_secrets())
    assert content(store) == before


@pytest.mark.parametrize("name", ["v1/p/default/00/x", "v1/config.1", f"v1/m/default/{samples.VM}/{samples.POINT}"])
def test_a_place_with_strange_objects_is_refused(name: str) -> None:
    store = MemoryStore()
    store.put(name, b"strange")
    with pytest.raises(ForeignRepository, match="choose another place"):
        create(store)
    assert content(store) == {name: b"strange"}


def test_one_recipient_is_too_few() -> None:
    with pytest.raises(ValueError, match="2 recipients"):
        create(MemoryStore(), recipients={"controller": samples.RECIPIENTS["controller"]})
    with pytest.raises(ValueError, match="2 recipients"):
        create(MemoryStore(), recipients=dict.fromkeys(samples.RECIPIENTS, samples.RECIPIENTS["controller"]))
    for size in (65537, 4096, 8 << 20):  # what the chunk grid cannot cut
        with pytest.raises(ValueError, match="power of two"):
            create(MemoryStore(), chunk_nominal_bytes=size)


def test_wrong_keys_and_unknown_wrappers(repository: OpenRepository) -> None:
    with pytest.raises(WrongKey, match="sealed to another key"):
        open_repository(repository.store, "recovery", CONTROLLER)
    with pytest.raises(WrongKey, match="controller, recovery"):
        open_repository(repository.store, "kms", CONTROLLER)


def test_a_replaced_repository_is_noticed_by_its_signing_key() -> None:
    """Whoever can write to the bucket can seal other keys to our public key: the pinned signing key tells."""
    theirs = create(MemoryStore(), secrets=new_secrets()).store
    assert open_repository(theirs, "controller", CONTROLLER)
    with pytest.raises(ForeignRepository, match="signed by another key"):
        open_repository(theirs, "controller", CONTROLLER, pinned_signing_key=samples.SECRETS.signing_public_key)


def test_keys_that_are_not_the_configs_are_refused(repository: OpenRepository) -> None:
    foreign = create(MemoryStore(), secrets=new_secrets()).store
    name = key_name("default", 1, "controller")
    repository.store.put(name, foreign.get(name), create_only=False)
    with pytest.raises(IntegrityError, match=f"{name}.*not those that config names"):
        open_repository(repository.store, "controller", CONTROLLER)
    swapped = key_name("default", 2, "recovery")
    repository.store.put(swapped, repository.store.get(key_name("default", 1, "recovery")))
    secrets = open_repository(repository.store, "recovery", RECOVERY).secrets
    assert secrets.k_dedup("default", 1) == samples.K_DEDUP
    with pytest.raises(IntegrityError, match=f"{swapped}.*than its place"):
        secrets.k_dedup("default", 2)


def test_a_damaged_key_object_shuts_its_own_epoch_only() -> None:
    """And nothing is written under an older epoch because the newest one's keys are damaged."""
    first = new_secrets(("a", "b"))
    secrets = replace(first, dedup_keys={**first.dedup_keys, ("a", 2): b"\x01" * 32})
    store = create(MemoryStore(), secrets=secrets).store
    name = key_name("a", 2, "controller")
    for body in (b"", b"garbage", store.get(name)[:-1], b"x" * (2 << 20)):
        store.put(name, body, create_only=False)
        opened = open_repository(store, "controller", CONTROLLER).secrets
        assert (opened.k_dedup("a", 1), opened.newest_epoch("b")) == (secrets.k_dedup("a", 1), 1)
        with pytest.raises(IntegrityError, match=f"{name}.*epoch 2 of tenant a"):
            opened.k_dedup("a", 2)
        with pytest.raises(IntegrityError, match=f"{name}.*epoch 2 of tenant a"):
            opened.newest_epoch("a")
    assert open_repository(store, "recovery", RECOVERY).secrets == secrets


def test_when_no_key_object_opens_the_first_is_named(repository: OpenRepository) -> None:
    name = key_name("default", 1, "controller")
    body = repository.store.get(name)
    for at in range(0, len(body), 11):
        damaged = bytearray(body)
        damaged[at] ^= 0x10
        repository.store.put(name, bytes(damaged), create_only=False)
        with pytest.raises((IntegrityError, FormatUnsupported, WrongKey), match=name):
            open_repository(repository.store, "controller", CONTROLLER)


@pytest.mark.parametrize("pinned", [True, False])
def test_any_flipped_bit_of_config_is_answered_by_a_copy(repository: OpenRepository, pinned: bool) -> None:
    """A bit of version or suite too: what a newer Seawall wrote would stand in all copies."""
    store, body = repository.store, repository.store.get(config_name())
    pin = samples.SECRETS.signing_public_key if pinned else None
    for at in range(len(body)):
        damaged = bytearray(body)
        damaged[at] ^= 1 << at % 8
        store.put(config_name(), bytes(damaged), create_only=False)
        assert open_repository(store, "recovery", RECOVERY, pinned_signing_key=pin).config == repository.config
    for copy in range(3):
        store.put(config_name(copy), version_2(body), create_only=False)
    with pytest.raises(IntegrityError, match=r"v1/config.*altered"):
        open_repository(store, "recovery", RECOVERY)
    newer = newer_signed(body, CONFIG_DOMAIN, samples.SECRETS.signing_secret_key)
    for copy in range(3):
        store.put(config_name(copy), newer, create_only=False)
    with pytest.raises(FormatUnsupported, match=r"v1/config.*version 2"):
        open_repository(store, "recovery", RECOVERY)


def test_a_foreign_config_is_passed_over_only_for_one_of_the_pinned_key(repository: OpenRepository) -> None:
    theirs = create(MemoryStore(), secrets=new_secrets()).store.get(config_name())
    pin = samples.SECRETS.signing_public_key
    repository.store.put(config_name(), theirs, create_only=False)
    opened = open_repository(repository.store, "recovery", RECOVERY, pinned_signing_key=pin)
    assert opened.config == repository.config
    for copy in (1, 2):
        repository.store.put(config_name(copy), theirs, create_only=False)
    with pytest.raises(ForeignRepository):
        open_repository(repository.store, "recovery", RECOVERY, pinned_signing_key=pin)


def test_without_the_first_config_a_damaged_copy_is_damage_and_no_empty_place(repository: OpenRepository) -> None:
    repository.store.delete(config_name())
    assert open_repository(repository.store, "recovery", RECOVERY).config == repository.config
    for copy in (1, 2):
        repository.store.put(config_name(copy), b"SEAWCONF", create_only=False)
    with pytest.raises(IntegrityError, match=r"v1/config\.1"):
        open_repository(repository.store, "recovery", RECOVERY)


def test_a_copy_stands_in_for_a_damaged_or_lost_config(repository: OpenRepository) -> None:
    store = repository.store
    store.put(config_name(), store.get(config_name())[:-1], create_only=False)
    store.delete(config_name(1))
    assert open_repository(store, "recovery", RECOVERY).config == repository.config
    store.delete(config_name(2))
    with pytest.raises(IntegrityError, match=config_name()):
        open_repository(store, "recovery", RECOVERY)


def with_features(store: Store, **features: tuple[str, ...]) -> None:
    config = replace(new_config(samples.LINEAGE, 65536, samples.SECRETS), **features)  # type: ignore[arg-type]
    store.put(config_name(), encode_config(config, samples.SECRETS.signing_secret_key), create_only=False)


def test_unknown_features_forbid_reading_or_writing_or_nothing(repository: OpenRepository) -> None:
    store = repository.store
    with_features(store, features_may_ignore=("sparkle",))
    open_repository(store, "recovery", RECOVERY).require_writable()
    with_features(store, features_may_not_write=("erasure",))
    read_only = open_repository(store, "recovery", RECOVERY)
    with pytest.raises(FormatUnsupported, match="erasure"):
        read_only.require_writable()
    with_features(store, features_may_not_read=("striping",))
    with pytest.raises(FormatUnsupported, match=r"v1/config.*striping"):
        open_repository(store, "recovery", RECOVERY)


class SuffixCounter(MemoryStore):
    """Remembers the suffixes that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.suffixes: list[int] = []

    def get_suffix(self, name: str, length: int) -> bytes:
        self.suffixes.append(length)
        return super().get_suffix(name, length)


@pytest.mark.parametrize(("count", "requests"), [(3, 1), (1200, 2)])
def test_tables_are_read_from_the_end(count: int, requests: int) -> None:
    store = SuffixCounter()
    repository = create(store)
    pack = samples.pack([samples.records()[number % 3] for number in range(count)])
    name = pack_name("default", pack.pack_id, 0)
    store.put(name, bytes(pack.body))
    table = repository.read_table("default", pack.pack_id, 0)
    assert isinstance(table, np.ndarray)
    assert table.tobytes() == pack.table.tobytes()
    assert len(store.suffixes) == requests
    tail = repository.read_tail("default", pack.pack_id, 0)
    assert (tail.footer.pack_bytes, tail.footer.meta) == (len(pack.body), False)
    with pytest.raises(ObjectMissing):
        repository.read_table("default", pack.pack_id, 1)
    store.put(name, bytes(pack.body)[1:], create_only=False)
    with pytest.raises(IntegrityError, match=name):
        repository.read_table("default", pack.pack_id, 0)


def test_a_pack_of_another_lineage_is_refused() -> None:
    repository = create(MemoryStore(), lineage_id=b"another lineage!")
    pack = samples.pack(samples.records())
    repository.store.put(pack_name("default", pack.pack_id, 0), bytes(pack.body))
    with pytest.raises(IntegrityError, match="of another repository"):
        repository.read_table("default", pack.pack_id, 0)


REFMAP = samples.refmap().encode("default")


def publish(repository: OpenRepository) -> bytes:
    stored = samples.record(b"node", 1, ChunkType.META)
    root_object = seal_root(samples.root(stored, samples.pack([stored])), repository.config.repository_public_key)
    body = repository.sign_manifest(samples.statement(root_object, REFMAP), root_object)
    repository.store.put(manifest_name("default", samples.VM, samples.POINT), body)
    return root_object


def test_a_committed_point_is_listed_and_read(repository: OpenRepository) -> None:
    root_object = publish(repository)
    (point,) = repository.points("default")
    statement, read = repository.read_manifest(point.tenant, point.vm_id, point.point_id)
    assert (statement.point_id, read) == (samples.POINT, root_object)
    assert repository.open_root(read).vm_name == "web-münchen"
    assert len(repository.unseal_data_key(read)) == 32
    assert repository.points("other") == []


def test_a_point_with_a_tombstone_or_without_a_manifest_is_none(repository: OpenRepository) -> None:
    publish(repository)
    repository.store.put(refmap_name("default", samples.VM, OTHER_POINT), b"orphan")
    repository.store.put(f"v1/m/default/{samples.VM}/strange", b"")
    assert [point.point_id for point in repository.points("default")] == [samples.POINT]
    manifest = repository.store.get(manifest_name("default", samples.VM, samples.POINT))
    repository.store.put(
        tombstone_name("default", samples.VM, samples.POINT), repository.sign_tombstone(samples.burial(manifest))
    )
    assert repository.points("default") == []


def test_a_manifest_in_another_points_place_is_refused(repository: OpenRepository) -> None:
    publish(repository)
    moved = manifest_name("default", samples.VM, OTHER_POINT)
    repository.store.put(moved, repository.store.get(manifest_name("default", samples.VM, samples.POINT)))
    with pytest.raises(IntegrityError, match=moved):
        repository.read_manifest("default", samples.VM, OTHER_POINT)


def test_a_refmap_is_proven_by_the_manifest(repository: OpenRepository) -> None:
    publish(repository)
    place, name = ("default", samples.VM, samples.POINT), refmap_name("default", samples.VM, samples.POINT)
    with pytest.raises(ObjectMissing, match=name):
        repository.read_refmap(*place)
    repository.store.put(name, REFMAP)
    assert repository.read_refmap(*place).encode("default") == REFMAP
    other = Refmap()
    other.add(b"\xaa" * 16, [5])
    repository.store.put(name, other.encode("default"), create_only=False)  # whole, of this tenant, and too small
    with pytest.raises(IntegrityError, match="manifest names"):
        repository.read_refmap(*place)


def test_roots_and_manifests_of_another_lineage_are_refused(repository: OpenRepository) -> None:
    root_object = publish(repository)
    body = repository.store.get(manifest_name("default", samples.VM, samples.POINT))
    other = create(MemoryStore(), lineage_id=b"another lineage!")
    with pytest.raises(IntegrityError, match="another repository"):
        other.open_root(root_object)
    with pytest.raises(IntegrityError, match="another repository"):
        other.open_manifest(body)
    with pytest.raises(ValueError, match="another repository"):
        other.sign_manifest(samples.statement(root_object, b""), root_object)


def test_opened_repositories_do_not_print_secrets(repository: OpenRepository) -> None:
    assert "***" in repr(repository)
    assert repr(samples.SECRETS.cut_key) not in repr(repository)
    assert public_key_of(CONTROLLER) == samples.RECIPIENTS["controller"]
