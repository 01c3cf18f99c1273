"""A command of the hook directory as a process: no arguments, a small environment, JSON on its input, the last line that it wrote kept."""

import asyncio
import os
import signal
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import IO, BinaryIO

from seawall.controller.hooks.directory import Command
from seawall.controller.hooks.outcome import Outcome
from seawall.controller.text import printable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_BYTES = 4096
SHOWN = 200
TERM_SECONDS = 5.0
AFTERWARDS_SECONDS = 0.5
"""A process that the command left behind may hold its output open: the command's end is what counts."""
FREE_BYTES = 1 << 20
"""Beyond so much output, a command that writes without end is read slowly: else it would have the controller's processor."""
SLOW_SECONDS = 0.02
CHILDREN_SECONDS = 0.2
"""What is left of a command that was ended gets so much longer than the command itself."""


async def run_command(command: Command, body: bytes, facts: Mapping[str, str]) -> Outcome:
    """Nothing of the controller's environment is in the command's. When this is cancelled, all that the command began is ended."""
    environment = {"PATH": PATH, "LANG": "C.UTF-8"}
    environment |= {f"SEAWALL_{key.upper()}": value.replace("\0", "") for key, value in facts.items()}
    said = bytearray()
    with _input(body) as told:
        async with _output(said) as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    str(command.path),
                    stdin=told,
                    stdout=output.fileno(),
                    stderr=STDOUT,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome(False, f"It could not be started: {error.strerror}.")
            finally:
                output.close()
            try:
                code = await process.wait()
            except asyncio.CancelledError:  # its time is over, or the controller ends
                await _end(process)
                raise
    return _judged(code, said)


def _input(body: bytes) -> BinaryIO:
    """A file in memory: nobody has to feed a command that does not read."""
    file = os.fdopen(os.memfd_create("hook"), "w+b")
    file.write(body)
    file.flush()
    file.seek(0)
    return file


@asynccontextmanager
async def _output(said: bytearray) -> AsyncIterator[IO[bytes]]:
    """Where the command writes; its last bytes gather in `said`. Not asyncio's own pipe: whoever waits for the process would wait for
    its end as well, and so for processes that the command left behind."""
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0))
    hearing = asyncio.create_task(_hear(reader, said))
    writing = os.fdopen(theirs, "wb", 0)
    try:
        yield writing
        await asyncio.wait([hearing], timeout=AFTERWARDS_SECONDS)
    finally:
        writing.close()
        hearing.cancel()
        transport.close()


async def _hear(reader: asyncio.StreamReader, said: bytearray) -> None:
    heard = 0
    while some := await reader.read(65536):
        said += some
        del said[:-KEPT_BYTES]
        heard += len(some)
        if heard > FREE_BYTES:
            await asyncio.sleep(SLOW_SECONDS)


async def _end(process: Process) -> None:
    """Politely, then not, or at once when this is cancelled again. The whole session, as a shell's children outlive it otherwise."""
    try:
        with suppress(ProcessLookupError, TimeoutError):
            os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), TERM_SECONDS)
            await asyncio.sleep(CHILDREN_SECONDS)
    finally:
        _kill(process)
        await process.wait()  # which is soon; who was not waited for would stay a zombie


def _kill(process: Process) -> None:
    """Its group's number is no other's as long as one process is in the group. Once the command was seen off and its number is another
    process's, the group is empty.
    """
    if process.returncode is None or not os.path.exists(f"/proc/{process.pid}"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _judged(code: int, said: bytearray) -> Outcome:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    last = f": {printable(lines[-1].strip(), SHOWN)}" if lines else ""
    if code < 0:
        return Outcome(False, f"It was ended by signal {-code}{last}.")
    return Outcome(code == 0, f"It exited with {code}{last}.")
