"""Blocking code inside the simulated loop. A fibre (a greenlet) has a stack of its own in the loop's thread, and runs while the loop waits.

Where blocking code would wait (for a clock, a store, a reply), `wait_for` parks the fibre and lets the loop await something in its place.
So who runs is decided by the loop's timers alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from .process import CURRENT, Died, Process

T = TypeVar("T")

Request = Callable[[], Awaitable[Any]]

AT_ONCE: ContextVar[int] = ContextVar("at_once", default=1)
"""How many threads the product would have waiting here: one fibre does their work in turn, each wait a part of what it would be."""


@contextmanager
def at_once(threads: int) -> Iterator[None]:
    token = AT_ONCE.set(threads)
    try:
        yield
    finally:
        AT_ONCE.reset(token)


class _Fibre(greenlet):  # type: ignore[misc]
    """Runs one call. What it switches out with is a request, until it is dead: then it is the call's result."""

    def __init__(self, call: Callable[[], Any], process: Process | None) -> None:
        super().__init__(call)
        self.process = process
        self.gr_context = copy_context()


async def in_fibre(call: Callable[[], T]) -> T:
    """The result of blocking code. When this is cancelled, what the fibre waits for raises Died."""
    fibre = _Fibre(call, CURRENT.get())
    try:
        step = fibre.switch()
        while not fibre.dead:
            try:
                answer = await step()
            except asyncio.CancelledError:
                _unwind(fibre)
                raise
            except BaseException as error:
                step = fibre.throw(error)
            else:
                step = fibre.switch(answer)
    except Died:
        raise asyncio.CancelledError from None
    return step  # type: ignore[no-any-return]


def _unwind(fibre: _Fibre) -> None:
    """Whatever it still wants to wait for, on its way out."""
    try:
        while not fibre.dead:
            fibre.throw(Died())
    except BaseException:
        return


def wait_for(request: Request) -> Any:
    """Park until what the request makes has an answer. Outside of a fibre nothing is waited for: None."""
    fibre = getcurrent()
    if not isinstance(fibre, _Fibre) or fibre.parent is None:
        return None
    if fibre.process is not None and fibre.process.dead:
        raise Died
    return fibre.parent.switch(request)


def parked() -> bool:
    """Whether this code may park: it runs in a fibre."""
    return isinstance(getcurrent(), _Fibre)
