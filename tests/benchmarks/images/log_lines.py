"""A day of plausible log lines, from a seed."""

import random
from collections.abc import Iterator

_PATHS = ("/", "/index.html", "/api/orders", "/api/orders/{}", "/static/app.js", "/uploads/{:04}.jpg", "/search?q={}")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "curl/7.88.1",
)
_SAID = (
    "postgres[812]: checkpoint complete: wrote {} buffers",
    "sshd[{}]: Accepted publickey for deploy from 192.0.2.7 port 51812 ssh2",
    "systemd[1]: Started session-{}.scope - Session of user deploy.",
    "CRON[{}]: (root) CMD (cd / && run-parts --report /etc/cron.hourly)",
    "kernel: [{}.118263] TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.",
)


def access_lines(day: int, count: int) -> Iterator[str]:
    chance = random.Random(day)
    for second in range(count):
        path = chance.choice(_PATHS).format(chance.randrange(9000))
        client = f"198.51.{chance.randrange(256)}.{chance.randrange(256)}"
        answer = f"{chance.choice((200, 200, 200, 304, 404))} {chance.randrange(180, 60_000)}"
        yield f'{client} - - [{_clock(day, second)}] "GET {path} HTTP/1.1" {answer} "-" "{chance.choice(_AGENTS)}"\n'


def system_lines(day: int, count: int) -> Iterator[str]:
    chance = random.Random(day + 1)
    for second in range(count):
        yield f"Nov {day} {_time(second)} web1 {chance.choice(_SAID).format(chance.randrange(40_000))}\n"


def _clock(day: int, second: int) -> str:
    return f"{day}/Nov/2026:{_time(second)} +0000"


def _time(second: int) -> str:
    return f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
