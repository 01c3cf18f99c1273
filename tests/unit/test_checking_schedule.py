"""Which packs are read when: new ones soon, everything once in a period at an even rate, samples that rotate."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.checking.port import PackFacts
from seawall.repository.checking.sample import PAGE, rolling_sample, sample, share_of
from seawall.repository.checking.schedule import DAY_SECONDS, Due, Rhythm, Standing, bytes_a_day, next_check

SECOND = 1_000_000
DAY = DAY_SECONDS * SECOND
MIB = 1 << 20
RHYTHM = Rhythm(period_days=10)


def pack(number: int, looked_us: int = 0, size_bytes: int = 32 * MIB) -> PackFacts:
    return PackFacts(number.to_bytes(16, "big"), "default", False, 0, size_bytes, 10, looked_us, looked_us > 0)


NOW = 1000 * DAY
STANDING = Standing(
    now_us=NOW,
    total_bytes=1000 * 32 * MIB,
    new=False,
    oldest=pack(1, NOW - 5 * DAY),
    last_new_end_us=NOW - DAY,
    last_rolling_begin_us=NOW - DAY,
    last_failed_us=0,
)


def test_new_packs_come_first_but_not_one_by_one() -> None:
    new = replace(STANDING, new=True, oldest=None)
    assert next_check(new, RHYTHM) == Due("new", RHYTHM.new_bytes)
    assert next_check(replace(new, last_new_end_us=NOW - 19 * SECOND), RHYTHM) is None
    assert next_check(replace(new, last_new_end_us=NOW - 20 * SECOND), RHYTHM) == Due("new", RHYTHM.new_bytes)


def test_a_day_reads_a_tenth_and_a_little_more() -> None:
    assert bytes_a_day(STANDING.total_bytes, RHYTHM) == STANDING.total_bytes * 11 // 100
    assert next_check(STANDING, RHYTHM) == Due("rolling", STANDING.total_bytes * 11 // 100)
    hour = replace(STANDING, last_rolling_begin_us=NOW - 3600 * SECOND)
    due = next_check(hour, RHYTHM)
    assert due is not None
    assert abs(due.limit_bytes - STANDING.total_bytes * 11 // 2400) <= 1
    assert next_check(replace(hour, last_rolling_begin_us=NOW - 3599 * SECOND), RHYTHM) is None


def test_what_was_missed_is_made_up_for_but_nothing_is_read_twice() -> None:
    away = replace(STANDING, last_rolling_begin_us=NOW - 300 * DAY)
    assert next_check(away, RHYTHM) == Due("rolling", STANDING.total_bytes)


def test_a_small_repository_waits_until_its_share_is_a_pack() -> None:
    small = replace(STANDING, total_bytes=32 * MIB)
    assert next_check(replace(small, last_rolling_begin_us=NOW - 9 * DAY), RHYTHM) is None
    assert next_check(replace(small, last_rolling_begin_us=NOW - 10 * DAY), RHYTHM) == Due("rolling", 32 * MIB)


def test_nothing_is_started_of_itself_where_nobody_wants_it_or_nothing_is() -> None:
    assert next_check(STANDING, replace(RHYTHM, period_days=0)) is None
    assert next_check(replace(STANDING, oldest=None, total_bytes=0), RHYTHM) is None


def test_after_a_failure_a_pause_and_a_clock_that_went_back_is_no_time() -> None:
    failed = replace(STANDING, new=True, last_failed_us=NOW - 599 * SECOND)
    assert next_check(failed, RHYTHM) is None
    assert next_check(replace(failed, last_failed_us=NOW - 600 * SECOND), RHYTHM) is not None
    assert next_check(replace(STANDING, last_rolling_begin_us=NOW + DAY), RHYTHM) is None


def test_points_that_stay_undecided_keep_no_new_pack_waiting_nor_new_packs_them() -> None:
    late = NOW - 599 * SECOND
    both = replace(STANDING, new=True, oldest=None, points_due=True)
    assert next_check(replace(both, last_policy_failed_us=late), RHYTHM) == Due("new", RHYTHM.new_bytes)
    assert next_check(replace(both, last_failed_us=late), RHYTHM) == Due("policy", RHYTHM.new_bytes)
    assert next_check(replace(both, last_failed_us=late, last_policy_failed_us=late), RHYTHM) is None


@dataclass
class Shelf:
    """Packs by when they were looked at."""

    packs: dict[bytes, PackFacts] = field(default_factory=dict)

    def oldest(self, limit: int, *, seen_only: bool = False) -> list[PackFacts]:
        found = [one for one in self.packs.values() if one.looked_us or not seen_only]
        return sorted(found, key=lambda one: (one.looked_us, one.id))[:limit]

    def look(self, one: PackFacts, now_us: int) -> None:
        self.packs[one.id] = replace(one, looked_us=now_us)

    def read(self, limit_bytes: int, now_us: int) -> list[PackFacts]:
        found = []
        for one in sample(self.oldest, limit_bytes, now_us):
            self.look(one, now_us)
            found.append(one)
        return found


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=150), percent=st.integers(1, 99))
def test_samples_rotate_over_everything(sizes: list[int], percent: int) -> None:
    shelf = Shelf(
        {bytes([n]) * 16: replace(pack(n), id=bytes([n]) * 16, size_bytes=size) for n, size in enumerate(sizes)}
    )
    seen: set[bytes] = set()
    limit = share_of(sum(sizes), percent)
    for round_ in range(1, 100 // percent + 2):
        found = shelf.read(limit, round_)
        assert sum(one.size_bytes for one in found[:-1]) < limit, "no more than the share and the pack that fills it"
        seen |= {one.id for one in found}
    assert seen == shelf.packs.keys()


def test_a_year_of_rolling_verification_leaves_nothing_older_than_the_period() -> None:
    """An hourly loop over packs of very different sizes, all stored on one day, and a day each month on which nothing runs."""
    shelf = Shelf()
    for number in range(400):
        one = pack(number, NOW, (1 + number * 37 % 64) * MIB)
        shelf.packs[one.id] = one
    total = sum(one.size_bytes for one in shelf.packs.values())
    last, daily = NOW, dict[int, int]()
    for hour in range(1, 24 * 90):
        now = NOW + hour * 3600 * SECOND
        if hour // 24 % 30 == 17:
            continue
        due = next_check(
            replace(STANDING, now_us=now, total_bytes=total, oldest=shelf.oldest(1)[0], last_rolling_begin_us=last),
            RHYTHM,
        )
        if due is not None:
            last = now
            read = sum(one.size_bytes for one in shelf.read(due.limit_bytes, now))
            daily[hour // 24] = daily.get(hour // 24, 0) + read
        assert now - shelf.oldest(1)[0].looked_us <= 10 * DAY
    even = bytes_a_day(total, RHYTHM)
    quiet = [read for day, read in daily.items() if day % 30 not in (16, 17, 18)]
    assert max(quiet) < 1.5 * even


def test_a_pack_every_ten_seconds_holds_no_rolling_verification_up_nor_is_it_held_up() -> None:
    """Three periods around the clock: a pack is read in 4 s, a job begins and ends in 10 s, so one is always new."""
    rhythm = replace(RHYTHM, period_days=0.5)
    shelf = Shelf()
    for number in range(200):
        one = pack(number, NOW)
        shelf.packs[one.id] = one
    born: dict[bytes, int] = {}
    now, last_rolling, last_new_end, stored = NOW, NOW, NOW, NOW
    longest_wait = 0

    def spend(seconds: int) -> None:
        nonlocal now, stored
        now += seconds * SECOND
        while stored + 10 * SECOND <= now:
            stored += 10 * SECOND
            fresh = pack(10_000 + (stored - NOW) // (10 * SECOND))
            shelf.packs[fresh.id] = fresh
            born[fresh.id] = stored

    def read(chosen: Iterator[PackFacts]) -> None:
        nonlocal longest_wait
        for one in chosen:
            spend(4)
            if not one.looked_us:
                longest_wait = max(longest_wait, now - born[one.id])
                del shelf.packs[one.id]  # collected soon: what is stored stays as much
            else:
                shelf.look(one, now)

    while now < NOW + 3 * DAY // 2:
        due = next_check(
            replace(
                STANDING,
                now_us=now,
                total_bytes=sum(one.size_bytes for one in shelf.packs.values()),
                new=not shelf.oldest(1)[0].looked_us,
                oldest=shelf.oldest(1, seen_only=True)[0],
                last_new_end_us=last_new_end,
                last_rolling_begin_us=last_rolling,
            ),
            rhythm,
        )
        if due is None:
            spend(5)
            continue
        if due.because == "rolling":
            last_rolling = now
            read(rolling_sample(shelf.oldest, due.limit_bytes, now))
        else:
            read(sample(shelf.oldest, due.limit_bytes, now, new_only=True))
            last_new_end = now
        spend(10)
        assert now - shelf.oldest(1, seen_only=True)[0].looked_us <= DAY // 2
    assert longest_wait <= 90 * SECOND


def test_a_rolling_sample_lets_new_packs_in_and_no_more_of_them_than_of_the_others() -> None:
    shelf = Shelf(
        {one.id: one for one in [*(pack(n) for n in range(500)), *(pack(1000 + n, 1 + n) for n in range(100))]}
    )
    found = shelf_read(shelf, 50)
    old = [one for one in found if one.looked_us]
    assert [one.id for one in old] == [pack(1000 + n).id for n in range(50)]
    assert len(found) == 100
    assert all(sum(not one.looked_us for one in found[:n]) * 2 <= n for n in range(101))


def shelf_read(shelf: Shelf, packs: int) -> list[PackFacts]:
    found = []
    for one in rolling_sample(shelf.oldest, packs * 32 * MIB, NOW):
        shelf.look(one, NOW)
        found.append(one)
    return found


def test_packs_stored_meanwhile_come_first_and_undecided_ones_hold_nothing_up() -> None:
    shelf = Shelf({one.id: one for one in (pack(number, number + 1) for number in range(3 * PAGE))})
    found: list[PackFacts] = []
    for one in sample(shelf.oldest, 1 << 60, NOW):
        found.append(one)  # nobody could decide on any of them: none becomes younger
        if len(found) == 10:
            shelf.packs[pack(9999).id] = pack(9999)
    assert len(found) == len({one.id for one in found}) == 3 * PAGE + 1
    assert pack(9999) in found[: PAGE + 2]


def test_new_only_ends_with_the_last_new_one() -> None:
    shelf = Shelf({one.id: one for one in (pack(1), pack(2), pack(3, 5), pack(4, 6))})
    assert [one.id for one in sample(shelf.oldest, 1 << 60, NOW, new_only=True)] == [pack(1).id, pack(2).id]
