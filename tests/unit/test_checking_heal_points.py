"""Healing brings back manifests and refmaps too: from the copy, or a refmap from the point's own nodes; nothing unproven is written."""

import pytest

from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.finding import Reason
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.layout import manifest_name, refmap_name
from seawall.repository.store.memory import MemoryStore
from support.checked_world import CheckedWorld, checked_world
from support.newer_objects import newer_manifest
from support.rescue_world import VM, point_id

ONE, TWO = (point_id(number) for number in (1, 2))
MANIFEST, REFMAP = manifest_name("default", str(VM), TWO), refmap_name("default", str(VM), TWO)
STRUCTURE = CheckRequest(structure=True)


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


def lose(checked: CheckedWorld, name: str, damage: str) -> bytes:
    """Its bytes of before."""
    body = checked.store.get(name)
    if damage == "missing":
        checked.store.delete(name)
    else:
        checked.replace(name, body[:-1] + bytes([body[-1] ^ 1]))
    return body


@pytest.mark.parametrize("damage", ["missing", "altered"])
@pytest.mark.parametrize("name", [MANIFEST, REFMAP])
def test_what_is_lost_comes_back_from_the_copy(checked: CheckedWorld, name: str, damage: str) -> None:
    copy = checked.copied()
    body = lose(checked, name, damage)
    assert checked.check(STRUCTURE).findings_total > 0
    healed = checked.heal(copy)
    assert (healed.healed_manifests, healed.healed_refmaps) == (int(name == MANIFEST), int(name == REFMAP))
    assert healed.findings == ()
    assert checked.store.get(name) == body
    assert checked.check(STRUCTURE).findings_total == 0
    again = checked.heal(copy)
    assert (again.healed_manifests, again.healed_refmaps) == (0, 0)


def test_a_point_whose_keys_are_missing_stops_nothing(checked: CheckedWorld) -> None:
    copy = checked.copied()
    body = lose(checked, manifest_name("default", str(VM), ONE), "missing")
    for store in (checked.store, copy):
        store.delete(REFMAP)

    def gone(of: object, tenant: str, epoch: int) -> bytes:
        raise KeyError(tenant, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RepositorySecrets, "k_dedup", gone)
        healed = checked.heal(copy)
    assert checked.store.get(manifest_name("default", str(VM), ONE)) == body
    assert [(each.reason, each.object_name) for each in healed.findings] == [(Reason.NOT_IN_COPY, REFMAP)]


def test_both_come_back_at_once(checked: CheckedWorld) -> None:
    copy = checked.copied()
    for name in (MANIFEST, REFMAP):
        lose(checked, name, "missing")
    healed = checked.heal(copy)
    assert (healed.healed_manifests, healed.healed_refmaps) == (1, 1)


def test_a_refmap_comes_back_without_the_copy(checked: CheckedWorld) -> None:
    copy = checked.copied()
    body = lose(checked, REFMAP, "altered")
    copy.delete(REFMAP)
    assert checked.heal(copy).healed_refmaps == 1
    assert checked.store.get(REFMAP) == body


def test_another_points_manifest_in_the_copy_is_not_believed(checked: CheckedWorld) -> None:
    copy = checked.copied()
    copy.put(MANIFEST, copy.get(manifest_name("default", str(VM), ONE)), create_only=False)
    lose(checked, MANIFEST, "missing")
    healed = checked.heal(copy)
    assert healed.healed_manifests == 0
    assert [(each.reason, each.object_name) for each in healed.findings] == [(Reason.NOT_IN_COPY, MANIFEST)]
    assert TWO in healed.findings[0].points
    with pytest.raises(ObjectMissing):
        checked.store.get(MANIFEST)


def test_a_point_that_is_deleted_meanwhile_is_not_brought_back(checked: CheckedWorld) -> None:
    copy = checked.copied()
    lose(checked, MANIFEST, "missing")
    store = checked.store
    assert isinstance(store, MemoryStore)
    put = store.put

    def deleting(name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        put(name, body, create_only=create_only)
        if name == MANIFEST:
            checked.ledger.available = {
                one: lost for one, lost in checked.ledger.available.items() if one.point_id == ONE
            }

    store.put = deleting  # type: ignore[method-assign]
    assert checked.heal(copy).healed_manifests == 0
    with pytest.raises(ObjectMissing):
        store.get(MANIFEST)


def test_a_point_that_a_newer_seawall_wrote_ends_neither_a_check_nor_a_healing(checked: CheckedWorld) -> None:
    copy = checked.copied()
    newer = manifest_name("default", str(VM), ONE)
    body = checked.store.get(newer)
    checked.replace(newer, newer_manifest(body, checked.world.secrets.signing_secret_key))
    lost = lose(checked, REFMAP, "missing")

    found = checked.check(CheckRequest(structure=True, read_data_percent=100))
    assert {(each.reason, each.object_name, each.points) for each in found.findings} == {
        (Reason.NEEDS_UPGRADE, newer, (ONE,)),
        (Reason.REFMAP_MISSING, REFMAP, (TWO,)),
    }
    healed = checked.heal(copy)
    assert [(each.reason, each.points) for each in healed.findings] == [(Reason.NEEDS_UPGRADE, (ONE,))]
    assert healed.healed_refmaps == 1 and checked.store.get(REFMAP) == lost
    assert checked.store.get(newer)[8] == 2, "what is newer is left as it is, whatever the copy holds"


@pytest.mark.parametrize("place", [8, 9, 10, 11])
def test_an_altered_version_is_damage_that_healing_mends_and_no_newer_seawall(
    checked: CheckedWorld, place: int
) -> None:
    copy = checked.copied()
    body = checked.store.get(MANIFEST)
    checked.replace(MANIFEST, body[:place] + bytes([body[place] ^ 0x42]) + body[place + 1 :])
    assert [each.reason for each in checked.check(STRUCTURE).findings] == [Reason.MANIFEST_DAMAGED]
    assert checked.heal(copy).healed_manifests == 1
    assert checked.store.get(MANIFEST) == body
