"""Whether a VM's points go with it to another host: what the hosts said, when, and what speaks against it."""

from dataclasses import replace

import pytest

from seawall.controller.moving.belief import LONGEST_WAY, Belief, Terms, belief, contradicted, is_news, speaks_of
from seawall.controller.records.moves import Move

SECOND = 1_000_000
TERMS = Terms(window_us=600 * SECOND, settle_us=40 * SECOND)
POINT_US = 1_000 * SECOND
LEFT_US = 2_000 * SECOND
MIGRATED = Move("1", "vm", "alpha", "beta", left_us=LEFT_US, taken_us=LEFT_US + 3 * SECOND)
LATER_US = LEFT_US + 3_600 * SECOND
CONFIRMED = Move("2", "vm", "", "beta", confirmed_us=LEFT_US)


def judged(*moves: Move, to_host: str = "beta", now_us: int = LATER_US, since_us: int = POINT_US) -> Belief:
    return belief(moves, "alpha", to_host, since_us, now_us, TERMS)


def test_a_migration_that_the_old_host_told_of_is_believed() -> None:
    assert judged(MIGRATED).believed
    told_later = replace(MIGRATED, left_us=MIGRATED.taken_us + 500 * SECOND)
    assert judged(told_later).believed, "the old host's word may come after the new one's"


@pytest.mark.parametrize(
    ("moves", "word"),
    [
        ((), "nobody has seen"),
        ((replace(MIGRATED, left_us=0),), "has not said"),
        ((replace(MIGRATED, rival="mallory"),), "another host said"),
        ((replace(MIGRATED, taken_us=LEFT_US + 601 * SECOND),), "too long"),
        ((replace(MIGRATED, to_host="gamma"),), "nobody has seen"),
        ((replace(MIGRATED, to_host=""),), "nobody has seen"),
        ((MIGRATED, Move("2", "vm", "gamma", "beta", taken_us=LATER_US - SECOND)), "has not said"),
        ((replace(CONFIRMED, confirmed_us=POINT_US - 1),), "before that point"),
    ],
    ids=[
        "nothing known",
        "no word of the old host",
        "two hosts claim it",
        "too late",
        "another went there",
        "nobody took it",
        "it came again, from a host that says nothing",
        "confirmed before the point",
    ],
)
def test_anything_else_is_not(moves: tuple[Move, ...], word: str) -> None:
    verdict = judged(*moves)
    assert not verdict.believed and word in verdict.doubt


def test_an_arrival_by_a_clock_that_is_ahead_is_not_overlooked() -> None:
    """Else an older migration to the same host would speak for it."""
    again = Move("2", "vm", "alpha", "beta", taken_us=LATER_US + 5 * SECOND)
    assert "has not said" in judged(MIGRATED, again).doubt


def test_the_old_host_contradicts_until_it_has_said_that_the_vm_left() -> None:
    """Taken while the old host was away for a moment; what leaves it minutes later leaves for elsewhere."""
    taken = replace(MIGRATED, left_us=0)
    minutes_us = taken.taken_us + 300 * SECOND
    assert contradicted(taken, "alpha", minutes_us, TERMS)
    assert not contradicted(taken, "gamma", minutes_us, TERMS)
    assert not contradicted(MIGRATED, "alpha", minutes_us, TERMS), "it may have come back and left again"


def test_nobody_is_believed_before_others_had_time_to_contradict() -> None:
    until_us = MIGRATED.taken_us + TERMS.settle_us
    assert judged(MIGRATED, now_us=until_us - 1) == Belief(settles_us=until_us)
    assert judged(MIGRATED, now_us=until_us).believed
    told_late = replace(MIGRATED, left_us=until_us)
    assert judged(told_late, now_us=until_us).settles_us == until_us + TERMS.settle_us


def test_every_way_since_the_point_must_be_believed() -> None:
    on = Move("3", "vm", "beta", "gamma", left_us=LATER_US - 9 * SECOND, taken_us=LATER_US)
    settled_us = LATER_US + TERMS.settle_us
    assert judged(MIGRATED, on, to_host="gamma", now_us=settled_us).believed
    assert not judged(replace(MIGRATED, rival="x"), on, to_host="gamma", now_us=settled_us).believed
    assert not judged(MIGRATED, replace(on, left_us=0), to_host="gamma", now_us=settled_us).believed
    assert judged(CONFIRMED, on, to_host="gamma", now_us=settled_us).believed, (
        "an operator's word stands for what was before"
    )


def test_hosts_that_take_a_vm_from_each_other_for_ever_are_not_followed_for_ever() -> None:
    ways = [
        Move(str(n), "vm", f"host{n}", f"host{n + 1}", left_us=LEFT_US + n, taken_us=LEFT_US + n)
        for n in range(LONGEST_WAY + 1)
    ]
    assert "too often" in belief(ways, "host0", f"host{LONGEST_WAY + 1}", POINT_US, LATER_US, TERMS).doubt
    back = Move("9", "vm", "beta", "alpha", left_us=LEFT_US, taken_us=LEFT_US)
    assert belief([MIGRATED, back], "nowhere", "beta", POINT_US, LATER_US, TERMS).doubt, "a circle ends"


def test_who_speaks_against_a_move() -> None:
    until_us = MIGRATED.taken_us + TERMS.settle_us
    assert contradicted(MIGRATED, "mallory", until_us, TERMS) and contradicted(MIGRATED, "alpha", until_us, TERMS)
    assert not contradicted(MIGRATED, "beta", until_us, TERMS), "its own word"
    assert not contradicted(MIGRATED, "mallory", until_us + 1, TERMS), "a later claim is of a later way"


def test_which_move_a_word_is_of() -> None:
    assert speaks_of(replace(MIGRATED, left_us=0), "alpha", LEFT_US, TERMS)
    assert not speaks_of(MIGRATED, "alpha", LEFT_US, TERMS), "it has spoken of that one"
    assert not speaks_of(replace(MIGRATED, left_us=0), "gamma", LEFT_US, TERMS)
    assert not speaks_of(replace(MIGRATED, left_us=0), "alpha", LEFT_US - 601 * SECOND, TERMS)
    assert not speaks_of(replace(MIGRATED, left_us=0, to_host=""), "alpha", LEFT_US, TERMS)


def test_one_departure_vouches_for_one_move() -> None:
    assert is_news([], "alpha", LEFT_US) and is_news([replace(MIGRATED, left_us=0)], "alpha", LEFT_US)
    assert not is_news([MIGRATED], "alpha", LEFT_US + 9 * SECOND), "told again, with the clock's unevenness"
    back = Move("3", "vm", "beta", "alpha", taken_us=LATER_US)
    assert not is_news([MIGRATED, back], "alpha", LATER_US - SECOND), "it came back since"
    assert is_news([MIGRATED, back], "alpha", LATER_US + SECOND), "and left again"
    stayed = Move("4", "vm", "alpha", "alpha", left_us=LATER_US, taken_us=LATER_US + SECOND)
    assert not is_news([stayed], "alpha", LATER_US) and judged(MIGRATED, stayed).believed
