"""Small writes of many callers, gathered: who shares a transaction, and whose failure is whose."""

import asyncio
from collections.abc import Sequence

import pytest

from seawall.controller.errors import ControllerError, InvalidArgument, NotFound, Unavailable
from seawall.controller.services.gathering import Gathering


class Writer:
    """Doubles numbers. 13 breaks its transaction, a negative one is refused by itself; each transaction waits for its turn."""

    def __init__(self, most: int = 10) -> None:
        self.transactions: list[list[int]] = []
        self.turn = asyncio.Event()
        self.away = False
        self.ask = Gathering(self.carry_out, most)

    async def carry_out(self, some: Sequence[int]) -> list[int | ControllerError]:
        self.transactions.append(list(some))
        await self.turn.wait()
        if self.away:
            raise Unavailable("DATABASE", "away")
        if 13 in some:
            raise InvalidArgument("BAD_NUMBER", "13")
        return [2 * each if each >= 0 else NotFound("NEGATIVE", "no") for each in some]

    async def asked(self, numbers: Sequence[int]) -> list[int | BaseException]:
        """The first alone; all others while it is under way."""
        tasks = [asyncio.create_task(self.ask(numbers[0]))]
        while not self.transactions:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(self.ask(each)) for each in numbers[1:]]
        await asyncio.sleep(0)
        self.turn.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_that_come_while_one_is_under_way_share_the_next() -> None:
    writer = Writer()
    assert await writer.asked([1, 2, 3, 4]) == [2, 4, 6, 8]
    assert writer.transactions == [[1], [2, 3, 4]]
    assert await writer.ask(5) == 10


async def test_one_transaction_takes_no_more_than_it_may() -> None:
    writer = Writer(most=2)
    assert await writer.asked([1, 2, 3, 4]) == [2, 4, 6, 8]
    assert writer.transactions == [[1], [2, 3], [4]]


async def test_each_gets_its_own_refusal() -> None:
    writer = Writer()
    answers = await writer.asked([1, -2, 3])
    assert (answers[0], answers[2]) == (2, 6)
    assert isinstance(answers[1], NotFound)
    assert writer.transactions == [[1], [-2, 3]]


async def test_one_that_breaks_the_transaction_breaks_its_own_alone() -> None:
    writer = Writer()
    answers = await writer.asked([1, 2, 13, 3])
    assert (answers[0], answers[1], answers[3]) == (2, 4, 6)
    assert isinstance(answers[2], InvalidArgument)
    assert writer.transactions == [[1], [2, 13, 3], [2], [13, 3], [13], [3]]


async def test_one_that_breaks_transactions_again_and_again_costs_the_others_little() -> None:
    writer = Writer(most=200)
    answers = await writer.asked([1, *range(100, 250), 13])
    assert [each for each in answers if isinstance(each, InvalidArgument)] == answers[-1:]
    assert len(writer.transactions) <= 2 + 2 * 8, "halved, not one by one"


async def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    writer = Writer()
    writer.away = True
    answers = await writer.asked([1, 2, 3])
    assert all(isinstance(each, Unavailable) for each in answers)
    assert writer.transactions == [[1], [2, 3]]
    writer.away = False
    assert await writer.ask(4) == 8


async def test_a_caller_that_hangs_up_takes_nothing_from_the_others() -> None:
    writer = Writer()
    first, gone, last = (asyncio.create_task(writer.ask(each)) for each in (1, 2, 3))
    await asyncio.sleep(0)
    gone.cancel()
    writer.turn.set()
    assert (await first, await last) == (2, 6)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_whoever_is_in_no_hurry_waits_for_others_until_it_is_full() -> None:
    writer = Writer(most=3)
    writer.ask = Gathering(writer.carry_out, 3, linger_seconds=3600)
    writer.turn.set()
    async with asyncio.timeout(10):
        first = asyncio.create_task(writer.ask(1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not writer.transactions
        assert list(await asyncio.gather(first, writer.ask(2), writer.ask(3))) == [2, 4, 6]
    assert writer.transactions == [[1, 2, 3]]


async def test_whoever_is_alone_waits_no_longer_than_it_may() -> None:
    writer = Writer()
    writer.ask = Gathering(writer.carry_out, 3, linger_seconds=0.01)
    writer.turn.set()
    async with asyncio.timeout(10):
        assert await writer.ask(1) == 2
