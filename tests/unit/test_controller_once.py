"""One request id, one deed: however often and however at once it is asked for."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from seawall.api.v1 import limits_pb2, operator_pb2
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import InvalidArgument, Unavailable
from seawall.controller.records.answers import Asked
from seawall.controller.services.once import Once, asked_by
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.sqlite_template import new_sqlite

DO = Asked("Do", "id")


@pytest.fixture
def once(tmp_path: Path) -> Iterator[Once]:
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as database:
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
        return await once.around(DO, act)

    calls = [once.around(DO, act) for _ in range(4)] + [late() for _ in range(4)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["not now"] + ["deed 2"] * 7
    assert not once._turns


async def test_a_request_id_belongs_to_what_the_request_said(once: Once) -> None:
    """Asked again it has its answer; with anything else it is refused, and nothing is done."""
    deeds: list[str] = []

    async def set_limit(scope: str, transferring: int) -> str:
        async def act() -> str:
            deeds.append(scope)
            return scope

        request = limits_pb2.SetLimitRequest(request_id="id", scope=scope, transferring=transferring)
        return await once.around(asked_by(request), act)

    assert await set_limit("global", 10) == await set_limit("global", 10) == "global"
    for other in (("host:alpha", 10), ("global", 11)):
        with pytest.raises(InvalidArgument, match="another SetLimit before") as raised:
            await set_limit(*other)
        assert raised.value.reason == "REQUEST_ID_REUSED"
    assert deeds == ["global"]


def test_what_a_request_asks_for_is_told_by_all_but_its_secrets() -> None:
    """What lies beside the answer in the database must not help to guess a secret that is sealed elsewhere in it."""
    add = {"request_id": "id", "name": "main", "url": "s3://bucket", "access_key": "me"}
    asked = asked_by(operator_pb2.AddRepositoryRequest(**add, secret_key="one"))  # type: ignore[arg-type]
    assert asked == asked_by(operator_pb2.AddRepositoryRequest(**add, secret_key="two"))  # type: ignore[arg-type]
    assert asked.method == "AddRepository"
    assert asked.hash != asked_by(operator_pb2.AddRepositoryRequest(**add | {"name": "other"})).hash  # type: ignore[arg-type]
    for wrong in ("", "x" * 129):
        with pytest.raises(InvalidArgument) as raised:
            asked_by(operator_pb2.CancelRunRequest(request_id=wrong, run="r"))
        assert raised.value.reason == "BAD_REQUEST_ID"
