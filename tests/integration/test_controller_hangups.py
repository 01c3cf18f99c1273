"""Port scanners, health checks, half-open clients: whoever connects and hangs up, at any point, brings no controller down."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.cli_up import Life, UpHome

LEAST, MOST_SECONDS = 100, 60
SECONDS = 4
"""With one new TLS configuration a handshake grpcio 1.85 died within the first second of this, each time."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


def connect_alone(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 1).close()


def break_the_handshake_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 1) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


def say_hello_and_leave(port: int) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), 1) as raw, trusting.wrap_socket(raw) as tls:
        tls.sendall(PREFACE)


Client = Callable[[int], None]


_SLOW = [pytest.param(client, marks=pytest.mark.slow) for client in (connect_alone, break_the_handshake_off)]


@pytest.mark.parametrize("client", [say_hello_and_leave, *_SLOW])
def test_whoever_hangs_up_harms_nobody(client: Client, tmp_path: Path) -> None:
    home = UpHome(tmp_path)
    with home.up() as life:
        operator = int(life.document["address"].rpartition(":")[2])
        assert storm(client, (operator, operator + 1)) >= LEAST
        answer = home.seawall("status", "--json")
        assert answer.code == 0, answer
        assert runs_as_before(life), life.told


def storm(client: Client, ports: tuple[int, ...]) -> int:
    """How often six threads did it: for some seconds, and on a slow machine until it was often enough."""
    begun = time.monotonic()
    end, latest = begun + SECONDS, begun + MOST_SECONDS
    done = [0] * 6

    def strike(number: int) -> None:
        while (now := time.monotonic()) < end or (sum(done) < LEAST and now < latest):
            with suppress(OSError):
                client(ports[number % len(ports)])
                done[number] += 1

    threads = [threading.Thread(target=strike, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done)


def runs_as_before(life: Life) -> bool:
    os.kill(life.controller, 0)
    return "was killed" not in life.told
