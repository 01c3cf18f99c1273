"""The finisher's rounds: a store that is away holds up no other repository, and is asked once a round."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping

from seawall.controller.errors import Unavailable
from seawall.controller.publishing.finisher import STORE_AWAY, finish_intents
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking

AWAY = [f"a{number}" for number in range(4)]
PATIENCE_SECONDS = 30.0


class Points:
    """Unfinished ones: those of repository "away" fail with `reason`, what `before` does happens first; others are done."""

    def __init__(self, reason: str = STORE_AWAY, before: Callable[[], object] = lambda: None) -> None:
        self._reason = reason
        self._before = before
        self._lock = threading.Lock()
        self._repositories = dict.fromkeys(AWAY, "away") | {"b": "near"}
        self.rounds = 0
        self.tried: list[str] = []
        self.most_a_round = 0.0
        """Tries of the repository "away", for each time that the finisher asked what there is."""
        self.done = threading.Event()
        self.looks: Iterator[Exception] = iter(())
        """What the next looks meet."""

    def unfinished(self) -> Mapping[str, str]:
        with self._lock:
            self.rounds += 1
            for error in self.looks:
                raise error
            return dict(self._repositories)

    def finish(self, point_id: str) -> None:
        with self._lock:
            self.tried.append(point_id)
            away = sum(each in AWAY for each in self.tried)
            self.most_a_round = max(self.most_a_round, away / self.rounds)
        if point_id in AWAY:
            self._before()
            raise Unavailable(self._reason, "the store does not answer.")
        with self._lock:
            del self._repositories[point_id]
        self.done.set()


async def finish_until(points: Points, reached: Callable[[], bool]) -> None:
    drain, blocking = Drain(), Blocking(4)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            running = asyncio.create_task(finish_intents(points, blocking, Wakes(), drain, 0.01))
            while not reached():
                await asyncio.sleep(0.01)
            drain.start()
            await running
    finally:
        await asyncio.to_thread(blocking.close)


def test_a_point_of_a_store_that_answers_waits_for_no_other_store() -> None:
    in_time: list[bool] = []
    points = Points()
    points._before = lambda: in_time.append(points.done.wait(1.0))
    asyncio.run(finish_until(points, lambda: bool(in_time)))
    assert in_time[0], "b is finished while a0 still waits for its store"


def test_a_store_that_is_away_is_asked_for_one_point_a_round_and_for_each_in_turn() -> None:
    points = Points()
    asyncio.run(finish_until(points, lambda: len(points.tried) >= 6))
    assert [point for point in points.tried if point != "b"][:5] == [*AWAY, "a0"]
    assert points.most_a_round <= 1


def test_what_is_one_points_own_trouble_holds_up_no_other_of_its_repository() -> None:
    points = Points("TOMBSTONE_PLACE_TAKEN")
    asyncio.run(finish_until(points, lambda: len(points.tried) >= 5))
    first = [point for point in points.tried if point != "b"]
    assert first[:4] == AWAY


def test_whatever_a_look_meets_the_next_one_finishes() -> None:
    points = Points()
    points.looks = iter([ValueError("a row that nobody understands"), Unavailable("DATABASE_AWAY", "Away.")])
    asyncio.run(finish_until(points, points.done.is_set))
    assert points.tried[-1] == "b"


def test_looks_that_meet_what_nobody_foresaw_come_ever_more_rarely() -> None:
    points = Points()
    points.looks = iter([ValueError("a row that nobody understands")] * 10_000)

    async def for_a_while() -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.5
        await finish_until(points, lambda: loop.time() > until)

    asyncio.run(for_a_while())
    assert 2 <= points.rounds <= 6, "after 10, 20, 40, 80, 160 ms; each 10 ms it would be dozens"
