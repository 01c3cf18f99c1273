"""The contract of PackReader: straight on a store, and of an agent over what its controller signs."""

import numpy as np
import pytest

from seawall.repository.checking.port import PackFacts
from seawall.repository.errors import IntegrityError, ObjectMissing
from seawall.repository.format.pack import parse_table
from seawall.repository.reading.port import PackReader
from seawall.repository.reading.store_packs import StorePackReader
from support.checked_world import CheckedWorld, checked_world
from support.pack_signer import Signer


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


@pytest.fixture(params=["store", "agent"])
def packs(request: pytest.FixtureRequest, checked: CheckedWorld) -> PackReader:
    return (
        StorePackReader(checked.store, checked.world.tenant) if request.param == "store" else Signer(checked).reader()
    )


@pytest.fixture
def pack(checked: CheckedWorld) -> PackFacts:
    """Generation 0 lies there and counts."""
    return checked.data_pack()


def put(checked: CheckedWorld, pack: PackFacts, generation: int) -> bytes:
    """The same slots at other offsets are another test's matter; here the bytes differ behind the end."""
    body = checked.store.get(checked.name(pack)) + bytes([generation])
    checked.store.put(checked.name(pack, generation), body)
    return body


def test_every_generation_that_lies_there_is_named_the_newest_first(
    checked: CheckedWorld, packs: PackReader, pack: PackFacts
) -> None:
    assert list(packs.generations(pack.id)) == [0]
    put(checked, pack, 2)
    assert list(packs.generations(pack.id)) == [2, 0]
    put(checked, pack, 1)
    assert list(packs.generations(pack.id)) == [2, 1, 0]


def test_each_of_them_is_read_also_without_asking_for_them_first(
    checked: CheckedWorld, packs: PackReader, pack: PackFacts
) -> None:
    for generation in (3, 1):
        body = put(checked, pack, generation)
        assert packs.read(pack.id, generation, len(body) - 9, 9) == body[-9:]
        assert body[-1] == generation


def test_the_table_of_each(checked: CheckedWorld, packs: PackReader, pack: PackFacts) -> None:
    body = checked.store.get(checked.name(pack))
    checked.store.put(checked.name(pack, 2), body)
    expected = parse_table(body, len(body))
    for generation in (0, 2):
        assert np.array_equal(packs.table(pack.id, generation), expected)


def test_one_that_does_not_lie_there_is_missing(checked: CheckedWorld, packs: PackReader, pack: PackFacts) -> None:
    put(checked, pack, 3)
    for generation in (1, 2, 4):
        with pytest.raises(ObjectMissing):
            packs.read(pack.id, generation, 0, 9)
        with pytest.raises(ObjectMissing):
            packs.table(pack.id, generation)


def test_a_lost_one_is_missing_and_the_others_are_read(
    checked: CheckedWorld, packs: PackReader, pack: PackFacts
) -> None:
    """Also where it is the one that counts."""
    body = put(checked, pack, 1)
    checked.store.delete(checked.name(pack, 0))
    assert 1 in packs.generations(pack.id)
    assert packs.read(pack.id, 1, 0, 48) == body[:48]
    with pytest.raises(ObjectMissing):
        packs.read(pack.id, 0, 0, 48)


def test_one_that_goes_while_it_is_read(checked: CheckedWorld, packs: PackReader, pack: PackFacts) -> None:
    put(checked, pack, 1)
    packs.read(pack.id, 1, 0, 48)
    checked.store.delete(checked.name(pack, 1))
    with pytest.raises(ObjectMissing):
        packs.read(pack.id, 1, 0, 48)
    assert list(packs.generations(pack.id)) == [0]


def test_a_short_answer_is_damage(checked: CheckedWorld, packs: PackReader, pack: PackFacts) -> None:
    body = put(checked, pack, 1)
    with pytest.raises(IntegrityError):
        packs.read(pack.id, 1, len(body) - 4, 9)
