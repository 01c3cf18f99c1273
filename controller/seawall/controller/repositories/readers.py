"""Threads that read small objects of one bucket side by side, where an opening or a recovery needs very many of them."""

from concurrent.futures import ThreadPoolExecutor

READERS = 16
"""One at a time, the store's latency alone would take an hour for the 80,000 requests of a night that a database forgot, half an hour for
that night's tombstones, and hours for a million packs' tables. S3 clients have connections for twice as many."""


def store_readers(name: str) -> ThreadPoolExecutor:
    """`name`: how its threads are called. To be closed, as by `with`."""
    return ThreadPoolExecutor(READERS, name)
