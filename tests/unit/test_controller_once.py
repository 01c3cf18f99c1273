"""One request id, one deed: however often and however at once it is asked for."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Unavailable
from seawall.controller.services.once import Once
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock


@pytest.fixture
def once(tmp_path: Path) -> Iterator[Once]:
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as database:
        yield Once(database, ManualClock(), Timings())


async def test_callers_at_once_get_one_answer_even_after_a_failure(once: Once) -> None:
    """The first one fails while others wait and one more arrives: still only one acts at a time, and one deed is done."""
    acting = deeds = 0
    second_acts, all_arrived = asyncio.Event(), asyncio.Event()

    async def act() -> str:
        nonlocal acting, deeds
        acting, deeds = acting + 1, deeds + 1
        assert acting == 1
        if deeds == 1:
            acting -= 1
            raise Unavailable("STORE_UNAVAILABLE", "not now")
        second_acts.set()
        await all_arrived.wait()
        acting -= 1
        return f"deed {deeds}"

    async def late() -> str:
        await second_acts.wait()
        asyncio.get_running_loop().call_later(0.05, all_arrived.set)
        return await once.around("Do", "id", act)

    calls = [once.around("Do", "id", act) for _ in range(4)] + [late() for _ in range(4)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["not now"] + ["deed 2"] * 7
    assert not once._turns
