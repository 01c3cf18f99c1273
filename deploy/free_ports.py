"""Ports for servers of tests and benchmarks, below those that the kernel gives to connections: one of these is gone a moment later."""

import random
import socket

FIRST, LAST = 20_000, 32_000
_random = random.SystemRandom()  # processes side by side choose apart


def free_ports(count: int, address: str = "127.0.0.1") -> int:
    """The first of so many ports in a row that nobody uses now. Start the server soon. Raises OSError where none is found."""
    for _ in range(1000):
        first = _random.randrange(FIRST, LAST - count)
        if all(_is_free(address, port) for port in range(first, first + count)):
            return first
    raise OSError(f"no {count} free ports in a row from {FIRST} to {LAST}")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((address, port))
        except OSError:
            return False
        return True
