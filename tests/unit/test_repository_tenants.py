"""Keys of a tenant that comes while a repository is open: made once, for every recipient, whatever dies or races."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from seawall.repository.checking.pack import opener_of
from seawall.repository.crypto.keys import FIRST_EPOCH, new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import ForeignRepository, FormatUnsupported, IntegrityError, StoreUnavailable
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER, RECOVERY_WRAPPER
from seawall.repository.format.layout import KEYS_PREFIX, key_name
from seawall.repository.held_keys import HeldKeys, Place
from seawall.repository.repository import OpenRepository, create_repository, open_repository
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo
from support import format_samples as samples

CONTROLLER, RECOVERY = samples.RECIPIENT_SECRETS[CONTROLLER_WRAPPER], samples.RECIPIENT_SECRETS[RECOVERY_WRAPPER]
ACME = [key_name("acme", FIRST_EPOCH, wrapper) for wrapper in (CONTROLLER_WRAPPER, RECOVERY_WRAPPER)]


class ObservedStore(MemoryStore):
    """Calls `before` and `after` at each PUT of a key object with its name."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[str], None] = lambda name: None
        self.after: Callable[[str], None] = lambda name: None
        self.lists = 0

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        if name.startswith(KEYS_PREFIX):
            self.before(name)
        super().put(name, body, create_only=create_only)
        if name.startswith(KEYS_PREFIX):
            self.after(name)

    def keys(self) -> dict[str, bytes]:
        return {info.name: self.get(info.name) for info in self.list(KEYS_PREFIX)}


@pytest.fixture
def store() -> ObservedStore:
    made = ObservedStore()
    create_repository(
        made,
        lineage_id=samples.LINEAGE,
        chunk_nominal_bytes=65536,
        recipients=samples.RECIPIENTS,
        secrets=samples.SECRETS,
    )
    return made


def by_controller(store: MemoryStore) -> OpenRepository:
    return open_repository(store, CONTROLLER_WRAPPER, CONTROLLER)


def k_dedup(repository: OpenRepository) -> bytes:
    return repository.k_dedup("acme", FIRST_EPOCH)


def opened_alike(store: MemoryStore) -> bytes:
    """The key of acme, which every recipient finds in its own object."""
    keys = {k_dedup(open_repository(store, wrapper, secret)) for wrapper, secret in samples.RECIPIENT_SECRETS.items()}
    (key,) = keys
    return key


def test_the_first_backup_of_a_tenant_makes_its_keys(store: ObservedStore) -> None:
    repository = by_controller(store)
    before = store.keys()
    assert repository.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert store.keys().keys() - before.keys() == set(ACME)
    assert before.items() <= store.keys().items()
    assert opened_alike(store) == k_dedup(repository)
    assert k_dedup(repository) != repository.k_dedup("default", FIRST_EPOCH)
    after = store.keys()
    assert repository.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert by_controller(store).epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert store.keys() == after


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ACME)
def test_what_died_at_any_step_is_gone_on_with(store: ObservedStore, name: str, when: str) -> None:
    def die(put: str) -> None:
        if put == name:
            raise StoreUnavailable("died")

    setattr(store, when, die)
    with pytest.raises(StoreUnavailable):
        by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    setattr(store, when, lambda put: None)
    again = by_controller(store)
    assert again.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert set(store.keys()) >= set(ACME)
    assert opened_alike(store) == k_dedup(again)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ACME)
def test_two_controllers_at_once_end_with_one_key(store: ObservedStore, name: str, when: str) -> None:
    """The other does all of it between two steps of the first."""
    one, other = by_controller(store), by_controller(store)

    def overtake(put: str) -> None:
        if put == name:
            setattr(store, when, lambda put: None)
            other.epoch_to_write("acme", samples.RECIPIENTS)

    setattr(store, when, overtake)
    assert one.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert other.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert k_dedup(one) == k_dedup(other) == opened_alike(store)
    assert {name for name in store.keys() if "/acme/" in name} == set(ACME)


def test_who_opened_before_reads_the_keys_when_it_meets_the_tenant(store: ObservedStore) -> None:
    """A maintenance worker, say: the keys are not lost, it only has not read them."""
    worker, controller = by_controller(store), by_controller(store)
    assert not opener_of(worker, "acme").keys
    controller.epoch_to_write("acme", samples.RECIPIENTS)
    assert opener_of(worker, "acme").keys
    worker = by_controller(store)
    controller.epoch_to_write("globex", samples.RECIPIENTS)
    assert worker.k_dedup("globex", FIRST_EPOCH) == controller.k_dedup("globex", FIRST_EPOCH)
    with pytest.raises(KeyError):
        worker.k_dedup("nobody", FIRST_EPOCH)


def test_an_object_that_was_lost_is_written_anew(store: ObservedStore) -> None:
    first = by_controller(store)
    first.epoch_to_write("acme", samples.RECIPIENTS)
    store.delete(ACME[1])
    again = by_controller(store)
    assert again.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert opened_alike(store) == k_dedup(first)


def test_an_epoch_that_is_shut_to_us_stays_its_owners(store: ObservedStore) -> None:
    """A controller died after its own object, and another one was recovered since: nobody's key is taken for another's."""
    other_secret = new_secret()
    recipients = {
        "controller-other": public_key_of(other_secret),
        RECOVERY_WRAPPER: samples.RECIPIENTS[RECOVERY_WRAPPER],
    }
    by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    store.delete(ACME[1])
    recovered = open_repository(store, RECOVERY_WRAPPER, RECOVERY)
    made = replace(recovered, keys=held_by(recovered, "controller-other", other_secret))
    assert made.epoch_to_write("acme", recipients) == FIRST_EPOCH + 1
    assert open_repository(store, RECOVERY_WRAPPER, RECOVERY).k_dedup("acme", 2) == made.k_dedup("acme", 2)


def held_by(repository: OpenRepository, wrapper: str, secret: bytes) -> HeldKeys:
    return HeldKeys(repository.secrets, Place(repository.store, repository.config, wrapper, secret))


def damage(store: MemoryStore, name: str) -> None:
    body = bytearray(store.get(name))
    body[20] ^= 1
    store.delete(name)
    store.put(name, bytes(body))


def test_a_recovery_key_that_is_damaged_stops_no_backup(store: ObservedStore) -> None:
    by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    damage(store, ACME[1])
    before = store.keys()
    assert by_controller(store).epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH
    assert store.keys() == before


def test_a_recovery_key_that_is_damaged_is_told(store: ObservedStore) -> None:
    by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    damage(store, ACME[1])
    told: list[str] = []
    repository = by_controller(store)
    for _ in range(2):
        repository.epoch_to_write("acme", samples.RECIPIENTS, lambda name, error: told.append(name))
    assert told == [ACME[1]]


def test_a_key_object_that_is_put_back_opens_without_opening_the_repository_again(store: ObservedStore) -> None:
    whole_keys = by_controller(store)
    whole_keys.epoch_to_write("acme", samples.RECIPIENTS)
    for tenant in ("acme", "default"):
        name = key_name(tenant, FIRST_EPOCH, CONTROLLER_WRAPPER)
        whole = store.get(name)
        damage(store, name)
        writing, reading = by_controller(store), by_controller(store)
        for _ in range(2):
            with pytest.raises(IntegrityError, match=f"epoch 1 of tenant {tenant}"):
                writing.epoch_to_write(tenant, samples.RECIPIENTS)
            with pytest.raises(IntegrityError, match=f"epoch 1 of tenant {tenant}"):
                reading.k_dedup(tenant, FIRST_EPOCH)
        store.delete(name)
        store.put(name, whole)
        assert writing.epoch_to_write(tenant, samples.RECIPIENTS) == FIRST_EPOCH
        expected = whole_keys.k_dedup(tenant, FIRST_EPOCH)
        assert reading.k_dedup(tenant, FIRST_EPOCH) == writing.k_dedup(tenant, FIRST_EPOCH) == expected


class HangingStore(ObservedStore):
    """While it hangs, a LIST of keys waits until `goes_on`, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.waiting, self.goes_on = False, threading.Event(), threading.Event()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if self.hangs:
            self.waiting.set()
            assert self.goes_on.wait(timeout=20)
        return super().list(prefix)


def test_who_waits_for_keys_of_a_store_that_hangs_gives_its_thread_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few hosts would hold every thread of the controller."""
    monkeypatch.setattr("seawall.repository.held_keys.WAIT_SECONDS", 0.1)
    store = HangingStore()
    create_repository(
        store,
        lineage_id=samples.LINEAGE,
        chunk_nominal_bytes=65536,
        recipients=samples.RECIPIENTS,
        secrets=samples.SECRETS,
    )
    repository = by_controller(store)
    store.hangs = True
    with ThreadPoolExecutor(3) as pool:
        try:
            first = pool.submit(repository.epoch_to_write, "acme", samples.RECIPIENTS)
            assert store.waiting.wait(timeout=5)
            with pytest.raises(StoreUnavailable, match="another call"):
                pool.submit(repository.epoch_to_write, "globex", samples.RECIPIENTS).result(timeout=5)
            with pytest.raises(StoreUnavailable, match="another call"):
                pool.submit(repository.k_dedup, "globex", FIRST_EPOCH).result(timeout=5)
            written = pool.submit(repository.epoch_to_write, "default", samples.RECIPIENTS)
            assert written.result(timeout=5) == FIRST_EPOCH, "its keys were read when the repository was opened"
        finally:
            store.goes_on.set()
        assert first.result(timeout=5) == FIRST_EPOCH
    assert repository.epoch_to_write("globex", samples.RECIPIENTS) == FIRST_EPOCH


def test_the_keys_of_the_first_tenant_need_no_store(store: ObservedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = by_controller(store)

    def silent(*_: object, **__: object) -> None:
        raise StoreUnavailable("silent")

    for call in ("list", "get", "put", "head"):
        monkeypatch.setattr(store, call, silent)
    assert repository.epoch_to_write("default", samples.RECIPIENTS) == FIRST_EPOCH


def test_what_cannot_be_right_is_refused(store: ObservedStore) -> None:
    by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    store.delete(ACME[0])
    fresh = by_controller(store)
    assert fresh.epoch_to_write("acme", samples.RECIPIENTS) == FIRST_EPOCH + 1, (
        "a key that is shut to us is not guessed"
    )
    damage(store, key_name("acme", 2, CONTROLLER_WRAPPER))
    with pytest.raises(IntegrityError, match="epoch 2 of tenant acme"):
        by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    with pytest.raises(ValueError, match="no tenant name"):
        by_controller(store).epoch_to_write("Acme", samples.RECIPIENTS)
    newer = by_controller(store)
    newer = replace(newer, config=replace(newer.config, features_may_not_write=("of-tomorrow",)))
    with pytest.raises(FormatUnsupported):
        newer.epoch_to_write("initech", samples.RECIPIENTS)


def test_keys_of_somebody_else_in_a_recipients_place(store: ObservedStore) -> None:
    by_controller(store).epoch_to_write("acme", samples.RECIPIENTS)
    theirs = store.get(key_name("acme", 1, RECOVERY_WRAPPER))

    def put_before(name: str) -> None:
        if name == key_name("globex", 1, RECOVERY_WRAPPER):
            store.before = lambda put: None
            store.put(name, theirs)

    store.before = put_before
    for _ in range(2):
        with pytest.raises(ForeignRepository, match=r"v1/keys/globex/1\.recovery: holds other keys"):
            by_controller(store).epoch_to_write("globex", samples.RECIPIENTS)
