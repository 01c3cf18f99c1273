"""The rule of what may be stored twice, on histories of a few copies."""

from .bound import Began, Copy, doubled

C = b"c" * 16
ATTEMPTS = {"a": Began("one", 10), "b": Began("one", 12), "c": Began("two", 40), "late": Began("one", 90)}
EVERYBODY = {C: frozenset(ATTEMPTS)}


def test_what_ran_at_one_time_may_be_there_once_each() -> None:
    found = doubled([Copy(C, 100, "a", "one", 50), Copy(C, 100, "b", "one", 50)], ATTEMPTS, EVERYBODY)
    assert (found.unique_bytes, found.stored_bytes, found.twice_bytes, found.most_copies) == (100, 200, 100, 2)
    assert found.bound_bytes == 200  # a, b and c; the last one found a copy of its own host
    assert not found.violations


def test_who_began_after_a_copy_of_its_host_may_not_store_it() -> None:
    found = doubled([Copy(C, 100, "a", "one", 50), Copy(C, 100, "late", "one", 95)], ATTEMPTS, EVERYBODY)
    assert "late" in found.violations[0] and len(found.violations) == 1


def test_another_hosts_copy_answers_once_it_is_verified() -> None:
    unverified = doubled([Copy(C, 100, "a", "one", 20), Copy(C, 100, "c", "two", 60)], ATTEMPTS, EVERYBODY)
    verified = doubled([Copy(C, 100, "a", "one", 20, 30), Copy(C, 100, "c", "two", 60)], ATTEMPTS, EVERYBODY)
    assert not unverified.violations
    assert "attempt c" in verified.violations[0]


def test_nobody_stores_a_chunk_twice_himself() -> None:
    found = doubled([Copy(C, 100, "a", "one", 50), Copy(C, 100, "a", "one", 50)], ATTEMPTS, EVERYBODY)
    assert "stored chunk" in found.violations[0] and found.violations[0].endswith("twice")
