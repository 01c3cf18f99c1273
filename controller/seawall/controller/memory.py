"""How much memory the process keeps that it does not use: the allocator's arenas."""

import ctypes

M_ARENA_MAX = -8
ARENAS = 2


def keep_few_arenas() -> None:
    """To be called before threads start. By default glibc gives each of some thirty threads an arena of its own, and what was freed in one
    serves no other: with a thousand agents that is memory for nothing. Another C library has no such word and is left as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
