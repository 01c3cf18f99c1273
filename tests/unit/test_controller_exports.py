"""The document of an export, facts of points in columns, and what replicas tell those who wait."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from seawall.controller.records.known import Export, KnownHost, KnownPoint, PackedPoints, Settled
from seawall.controller.recovering.exporting import document_of, export_of
from seawall.controller.recovering.packing import pack_points, unpack_points
from seawall.controller.scheduler.following import Seen, moved
from seawall.controller.scheduler.wakes import ENDED, SCHEDULER

IDS = some.uuids().map(str)
POINTS = some.builds(
    KnownPoint,
    id=IDS,
    host_id=some.sampled_from(["", "a", "b", "c"]),
    policy_id=some.sampled_from(["", "p", "q"]),
    verified=some.booleans(),
    nominal_us=some.integers(0, 2**32 - 1).map(lambda second: second * 1_000_000),
)


@given(some.lists(POINTS, unique_by=lambda point: point.id, max_size=40))
def test_facts_of_points_survive_the_columns(points: list[KnownPoint]) -> None:
    assert unpack_points(pack_points(points)) == {point.id: point for point in points}


def test_a_point_takes_25_bytes() -> None:
    points = [KnownPoint(str(uuid.UUID(int=number)), "host", "policy", True, 1) for number in range(3000)]
    packed = pack_points(points)
    size = sum(len(text) for text in (packed.ids, packed.host, packed.policy, packed.verified, packed.due))
    assert size <= 3000 * 25 * 4 / 3 + 16


def test_columns_of_before_do_not_say_when_points_were_due() -> None:
    point = KnownPoint(str(uuid.UUID(int=1)), "host", "policy", True, 1_000_000)
    older = replace(pack_points([point]), due="")
    assert unpack_points(older) == {point.id: replace(point, nominal_us=0)}


def test_columns_of_different_lengths_are_refused() -> None:
    points = [KnownPoint(str(uuid.UUID(int=number)), "host", "policy", True, 1_000_000) for number in (1, 2)]
    with pytest.raises(ValueError, match="zip"):
        unpack_points(replace(pack_points(points), due=pack_points(points[:1]).due))


def test_an_export_of_another_version_is_understood() -> None:
    """It leaves out what this one knows, and brings what it does not."""
    whole = Export("r", "main", Settled("c", hosts=(KnownHost("h", "alpha"),)), points=PackedPoints(ids="AA"))
    assert export_of(document_of(whole)) == whole
    older = b'{"repository_id":"r","repository_name":"main","settled":{"hosts":[{"id":"h","name":"alpha","news":1}]},"more":[]}'
    assert export_of(older) == Export("r", "main", Settled(hosts=(KnownHost("h", "alpha"),)))


def test_those_who_wait_hear_of_what_concerns_them() -> None:
    before = Seen({"a": 1, "b": 1}, {"TRANSFERRING": 2})
    assert moved(before, before) == []
    assert moved(before, Seen({"a": 1, "b": 2, "c": 1}, {"TRANSFERRING": 2})) == ["b", "c"]
    assert moved(before, Seen({"a": 1, "b": 1}, {"TRANSFERRING": 1})) == [SCHEDULER, ENDED]
