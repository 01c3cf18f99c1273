"""What an operator is told of a repository that is not open yet."""

from dataclasses import replace

import pytest

from seawall.controller.errors import Unavailable
from seawall.controller.repositories.openings import INDEX, QUIET_SECONDS, Openings
from seawall.repository.errors import StoreUnavailable
from support.controller_clock import ManualClock
from support.controller_records import a_repository

FOLDER = a_repository()
BUCKET = replace(FOLDER, url="s3://bucket/")
SINCE = "opening since 2027-01-15 08:00:00 UTC: "


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def openings(clock: ManualClock) -> Openings:
    return Openings(clock)


def test_nothing_is_told_of_one_that_is_soon_over(openings: Openings, clock: ManualClock) -> None:
    with openings.of(BUCKET) as awaits:
        awaits("its open mark")
        clock.advance(QUIET_SECONDS / 2)
        assert openings.told(BUCKET.id) == (0, "")
    clock.advance(QUIET_SECONDS)
    assert openings.told(BUCKET.id) == (0, "")


def test_one_that_hangs_says_since_when_for_what_and_what_to_do(openings: Openings, clock: ManualClock) -> None:
    since_us = clock.now_us()
    with openings.of(BUCKET) as awaits:
        clock.advance(30)
        awaits("the list of leaders")
        clock.advance(12)
        assert openings.told(BUCKET.id) == (
            since_us,
            f"{SINCE}for 12 s now it waits for the list of leaders. If that goes on, check the store, and that the controller reaches it: "
            "a request that gets no answer is given up after 60 s, and the opening begins anew by itself.",
        )


def test_a_folder_and_an_index_have_advice_of_their_own(openings: Openings, clock: ManualClock) -> None:
    """Nobody gives up a request to a file system, and nothing is wrong where an index is rebuilt."""
    with openings.of(FOLDER) as awaits:
        awaits("the list of leaders")
        clock.advance(5)
        assert "whether the folder's file system answers" in openings.told(FOLDER.id)[1]
        awaits(INDEX)
        told = openings.told(FOLDER.id)[1]
        assert "it goes on by itself" in told and "check" not in told


def test_between_two_tries_the_failure_is_told_and_the_next_try_keeps_the_time(
    openings: Openings, clock: ManualClock
) -> None:
    def fail() -> None:
        with openings.of(BUCKET) as awaits:
            awaits("the list of leaders")
            raise StoreUnavailable("no answer.")

    since_us = clock.now_us()
    with pytest.raises(StoreUnavailable):
        fail()
    ended = "no answer (STORE_UNAVAILABLE). Check the store, and that the controller reaches it; it goes on by itself."
    told = f"{SINCE}the last try (1) ended at the list of leaders: {ended}"
    assert openings.told(BUCKET.id) == (since_us, told), "at once, however short it was"
    clock.advance(30)
    with openings.of(BUCKET):
        clock.advance(4)
        told = f"{SINCE}for 4 s now it waits for its config and keys. The try before ended: {ended}"
        assert openings.told(BUCKET.id) == (since_us, told)
    assert openings.told(BUCKET.id) == (0, "")


def test_errors_of_the_controller_and_its_bugs_end_a_try_too(openings: Openings) -> None:
    def fail(error: Exception) -> None:
        with openings.of(BUCKET):
            raise error

    for error, word in ((Unavailable("NOT_LEADER", "Another leads."), "(NOT_LEADER)"), (KeyError("x"), "log")):
        with pytest.raises(type(error)):
            fail(error)
        assert word in openings.told(BUCKET.id)[1]
