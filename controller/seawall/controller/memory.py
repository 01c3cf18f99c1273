"""How much memory the process keeps that it does not use: the allocator's arenas, and what was freed in them."""

import asyncio
import ctypes

M_ARENA_MAX = -8
ARENAS = 2
GIVE_BACK_SECONDS = 30.0


def keep_few_arenas() -> None:
    """To be called before threads start. By default glibc gives each of some thirty threads an arena of its own, and what was freed in one
    serves no other: with a thousand agents that is memory for nothing. Another C library has no such word and is left as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


async def give_back() -> None:
    """For ever, now and then: what a storm of connections or a large answer left behind goes back to the kernel. glibc alone gives back
    only what lies at the end of an arena."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(GIVE_BACK_SECONDS)
        await asyncio.to_thread(trim, 0)
