"""Hooks as files of a directory: real commands, a real HTTP server; what may be called, what it is told, how it ends."""

import asyncio
import hashlib
import hmac
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from seawall.controller.hooks.calling import Caller
from seawall.controller.hooks.directory import HookDirectory
from seawall.controller.hooks.messages import Message
from seawall.repository.clock import SystemClock

MESSAGE = Message("call-1", "before", b'{"call": "call-1"}', {"call": "call-1", "vm": "web $(id)"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "hooks"
    place.mkdir(mode=0o755)
    return place


def command(folder: Path, body: str, name: str = "one", mode: int = 0o755) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)


def webhook(folder: Path, text: str, name: str = "one", mode: int = 0o600) -> None:
    path = folder / f"{name}.toml"
    path.write_text(text)
    path.chmod(mode)


async def called(folder: Path, hook: str = "one", timeout_seconds: float = 30) -> tuple[bool, str]:
    outcome = await Caller(HookDirectory(folder), SystemClock()).call(hook, MESSAGE, timeout_seconds)
    return outcome.succeeded, outcome.told


async def test_a_command_is_told_everything_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    command(folder, f'cat > {folder}/input; env > {folder}/env; echo $# "$SEAWALL_VM"')
    assert await called(folder) == (True, "It exited with 0: 0 web $(id).")
    assert (folder / "input").read_bytes() == MESSAGE.body
    names = {line.partition("=")[0] for line in (folder / "env").read_text().splitlines()}
    assert names - {"_", "PWD", "SHLVL", "OLDPWD"} == {"PATH", "LANG", "SEAWALL_CALL", "SEAWALL_VM"}


async def test_an_exit_code_and_a_signal_are_failures(folder: Path) -> None:
    command(folder, "echo first; echo the disk is full >&2; exit 3")
    assert await called(folder) == (False, "It exited with 3: the disk is full.")
    command(folder, "kill -9 $$")
    assert await called(folder) == (False, "It was ended by signal 9.")


async def test_a_command_that_hangs_is_ended(folder: Path) -> None:
    command(folder, "exec sleep 600")
    assert await called(folder, timeout_seconds=0.5) == (False, "It was not done after 0.5 s.")


async def ended(pid: int) -> None:
    """Returns once the process is gone, or waits for its parent alone."""
    stat = Path(f"/proc/{pid}/stat")
    async with asyncio.timeout(30):
        with suppress(FileNotFoundError, ProcessLookupError):  # also in the middle of reading
            while stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
                await asyncio.sleep(0.02)


async def written(file: Path) -> int:
    while not file.exists() or not file.read_text().endswith("\n"):
        await asyncio.sleep(0.02)
    return int(file.read_text())


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_what_does_not_want_to_end_is_ended_with_the_controller(folder: Path, cancelled: int) -> None:
    """A child that the command leaves; the command itself, when nobody has the time to be polite."""
    deaf = f"trap '' TERM; echo $$ > {folder}/pid; while :; do sleep 0.1; done"
    command(folder, deaf if cancelled > 1 else f"sh -c '{deaf.replace(chr(39) * 2, chr(34) * 2)}' & wait")
    call = asyncio.create_task(called(folder, timeout_seconds=600))
    pid = await written(folder / "pid")
    for _ in range(cancelled):
        call.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await call
    await ended(pid)


async def test_a_child_that_stays_holds_nothing_up(folder: Path) -> None:
    command(folder, f"sleep 600 & echo $! > {folder}/child; exit 0")
    try:
        assert (await asyncio.wait_for(called(folder), 20))[0]
    finally:
        os.kill(int((folder / "child").read_text()), 9)


async def test_much_output_and_unread_input_do_no_harm(folder: Path) -> None:
    command(folder, "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end")
    big = Message("call-1", "before", b"x" * 5_000_000, {})
    outcome = await Caller(HookDirectory(folder), SystemClock()).call("one", big, 60)
    assert (outcome.succeeded, outcome.told) == (True, "It exited with 0: end.")


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o777, "written by others"), (0o775, "written by others"), (0o644, "may not be executed")],
)
async def test_a_command_that_others_may_write_is_none(folder: Path, mode: int, words: str) -> None:
    command(folder, "exit 0", mode=mode)
    succeeded, told = await called(folder)
    assert not succeeded and words in told
    (found,) = HookDirectory(folder).found()
    assert words in found.trouble and HookDirectory(folder).names() == frozenset()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions count for whoever runs the tests."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_directory_that_may_be_read_but_not_searched_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(folder, "exit 0")
    webhook(folder, "url = 'https://example.com/'", name="two")
    folder.parent.chmod(0o755)
    monkeypatch.chdir(folder.parent)  # a relative path asks nothing of its parents
    directory = HookDirectory(Path(folder.name))
    folder.chmod(0o644)
    try:
        with unprivileged():
            found, names = directory.found(), directory.names()
    finally:
        folder.chmod(0o755)
    assert names == frozenset() and [(each.name, each.webhook) for each in found] == [("one", False), ("two", True)]
    assert all("cannot be searched" in each.trouble for each in found)


async def test_nothing_outside_the_directory_is_called(folder: Path) -> None:
    command(folder.parent, "exit 0", name="outside")
    (folder / "link").symlink_to(folder.parent / "outside")
    (folder / "folder").mkdir()
    for name in ("../outside", str(folder.parent / "outside"), "/bin/true", "link", "folder", "..", ".", "", "none"):
        assert not (await called(folder, name))[0], name
    folder.chmod(0o777)
    command(folder, "exit 0")
    assert "the directory may be written by others" in (await called(folder))[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("url = 'http://example.com/'", "https://"),
        ("url = 'https://u:p@example.com/'", "neither a user"),
        ("url = 'file:///etc/passwd'", "https://"),
        ("url = 'https://example.com:x/'", "no URL"),
        ("secret = 'a'", "https://"),
        ("url = 'https://example.com/'\nhidden = 1", "not known"),
        ("url = 'https://example.com/'\nheaders = {Host = 'x'}", "own"),
        ('url = "https://example.com/"\nheaders = {X = "a\\r\\nY: b"}', "printable"),
        ("url = 'https://example.com/'\nca_file = 'x'", "absolute"),
        ("hidden token", "TOML"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_refused_and_not_quoted(folder: Path, text: str, words: str) -> None:
    webhook(folder, text)
    succeeded, told = await called(folder)
    assert not succeeded and words in told and "hidden" not in told and "u:p" not in told


async def test_a_webhook_that_others_may_read_is_refused(folder: Path) -> None:
    webhook(folder, "url = 'https://example.com/'", mode=0o644)
    assert "chmod 600" in (await called(folder))[1]
    webhook(folder, "url = 'https://example.com/'")
    command(folder, "exit 0")
    assert "two of the name" in (await called(folder))[1]


@asynccontextmanager
async def served(answer: bytes, seen: list[bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head + await reader.readexactly(len(MESSAGE.body)))
        with suppress(ConnectionError):  # who calls may have heard enough
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_webhook_is_signed_and_bears_the_id_of_the_call(folder: Path) -> None:
    seen: list[bytes] = []
    async with served(b"HTTP/1.1 204 No Content\r\n\r\n", seen) as port:
        webhook(
            folder, f"url = 'http://127.0.0.1:{port}/in?key=1'\nsecret = 's'\nheaders = {{Authorization = 'Bearer t'}}"
        )
        assert await called(folder) == (True, "It answered 204.")
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "POST /in?key=1 HTTP/1.1" and json.loads(body) == {"call": "call-1"}
    assert (headers["Idempotency-Key"], headers["Seawall-Stage"]) == ("call-1", "before")
    assert headers["Authorization"] == "Bearer t"
    seconds = headers["Seawall-Signature"].split(",")[0].removeprefix("t=")
    expected = hmac.new(b"s", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Seawall-Signature"] == f"t={seconds},v1={expected}"


@pytest.mark.parametrize(
    ("names", "trusted", "told"),
    [
        ("localhost", True, "It answered 200."),
        ("localhost", False, "Its certificate is not trusted here, or names another host."),
        ("127.0.0.1", True, "Its certificate is not trusted here, or names another host."),
    ],
)
async def test_a_webhook_over_tls(folder: Path, names: str, trusted: bool, told: str) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(names).configure_cert(tls)
    authority.cert_pem.write_to_path(str(folder.parent / "root.pem"))
    trust = f"\nca_file = '{folder.parent}/root.pem'" if trusted else ""
    seen: list[bytes] = []
    async with served(b"HTTP/1.1 200 OK\r\n\r\n", seen, tls) as port:
        webhook(folder, f"url = 'https://localhost:{port}/'{trust}")
        assert await called(folder) == (told == "It answered 200.", told)
    assert len(seen) == (told == "It answered 200."), "whoever is not trusted is told nothing"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 500 Oops\r\n\r\n", "It answered 500."),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n",
            "It answered 302. Redirects are not followed.",
        ),
        (b"SSH-2.0-x\r\n", "It did not answer in HTTP/1.1."),
        (b"", "It did not answer in HTTP/1.1."),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\n\r\n", "It answered 404."),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "It sent provisional answers alone."),
        (b"x" * 100_000, "The connection broke before it answered (ValueError)."),
    ],
)
async def test_any_other_answer_is_a_failure(folder: Path, answer: bytes, told: str) -> None:
    seen: list[bytes] = []
    async with served(answer, seen) as port:
        webhook(folder, f"url = 'http://127.0.0.1:{port}/'")
        assert await called(folder) == (False, told)
    assert len(seen) == 1


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid"])
async def test_a_name_that_no_host_can_have_is_a_failure(folder: Path, host: str) -> None:
    webhook(folder, f"url = 'https://{host}/'")
    succeeded, told = await called(folder)
    assert not succeeded and told.startswith("It could not be reached")


async def test_a_name_server_that_hangs_holds_nobody_elses_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> None:
        answered.wait(60)
        raise socket.gaierror("nobody answered")

    webhook(folder, "url = 'http://localhost/'")
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    caller = Caller(HookDirectory(folder), SystemClock())
    try:
        calls = [caller.call("one", MESSAGE, 0.2) for _ in range(40)]
        assert not any(outcome.succeeded for outcome in await asyncio.gather(*calls))
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 20) == 7
    finally:
        answered.set()


async def test_nobody_there_and_no_answer(folder: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        webhook(folder, f"url = 'http://127.0.0.1:{deaf.getsockname()[1]}/secret-path'")
        assert await called(folder) == (False, "It could not be reached (ConnectionRefusedError).")

    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        webhook(folder, f"url = 'http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/'")
        assert await called(folder, timeout_seconds=0.5) == (False, "It was not done after 0.5 s.")
        await asyncio.wait_for(gone.wait(), 30)
