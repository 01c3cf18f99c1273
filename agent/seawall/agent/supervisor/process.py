"""One worker process: exec'ed in its own process group, its assignment on stdin, its events from stdout, its log from stderr."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from seawall.agent.supervisor.attempt_log import AttemptLog
from seawall.agent.worker.pipe import End, Ended, Event, Job, Order, job_line, order_line, parse_event

LINE_LIMIT_BYTES = 1024 * 1024
WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 1024 * 1024),
    "OPENBLAS_NUM_THREADS": "1",
}
"""Few arenas: one per thread takes a tenth more memory (measured: 231 MB instead of 210). Pieces of 4 MiB come from the heap, and the heap
keeps them: else each is mapped, zeroed by the kernel and given back again (15 % of a full backup's processor time, measured). numpy's
threads multiply matrices, of which there are none: they only spin."""

_log = structlog.get_logger("seawall.agent.supervisor")


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process ended. `end` None: it never said; negative code: killed by that signal."""

    code: int
    end: End | None
    last_line: str

    def sentence(self) -> str:
        how = f"was killed by {_signal_name(-self.code)}" if self.code < 0 else f"exited with code {self.code}"
        return f"the worker {how}" + (f"; its last words: {self.last_line}" if self.last_line else "")


class WorkerProcess:
    """Made by `start`. `on_event` runs in the loop for each event but the last word, which is part of the Exit."""

    def __init__(self, process: asyncio.subprocess.Process, log: AttemptLog, on_event: Callable[[Event], None]) -> None:
        self._process = process
        self._attempt_log = log
        self._on_event = on_event
        self._end: End | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def order(self, order: Order) -> None:
        """Tell the worker something. One that is gone needs no telling."""
        await self._send(order_line(order))

    def terminate(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """The worker and whatever it started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> Exit:
        """Until it is gone and its last event is read. One that cannot be listened to is killed: nobody would drain its pipes."""
        try:
            await asyncio.gather(self._read_events(), self._read_log())
        except Exception:
            _log.exception("worker_not_readable", pid=self.pid)
            self.kill()
        code = await self._process.wait()
        self._attempt_log.close()
        return Exit(code, self._end, self._attempt_log.last_line())

    async def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        with suppress(ConnectionError):
            stdin.write(line)
            await stdin.drain()

    async def _read_events(self) -> None:
        async for line in _lines(self._process.stdout):
            try:
                event = parse_event(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                _log.warning("worker_event_not_understood", pid=self.pid, line=line[:200].decode(errors="replace"))
                continue
            if isinstance(event, Ended):
                self._end = event.end
            else:
                self._on_event(event)

    async def _read_log(self) -> None:
        async for line in _lines(self._process.stderr):
            self._attempt_log.write(line)


async def start_worker(
    command: Sequence[str], job: Job, log: AttemptLog, on_event: Callable[[Event], None]
) -> WorkerProcess:
    """Exec the command with the attempt's id as its only argument: a sweep recognises it by that; secrets never are arguments.

    Raises OSError when it cannot be executed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        job.assignment.ref.attempt_id,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES,
        start_new_session=True,
        env=os.environ | WORKER_ENVIRONMENT,
    )
    worker = WorkerProcess(process, log, on_event)
    await worker._send(job_line(job))
    return worker


async def _lines(stream: asyncio.StreamReader | None):  # type: ignore[no-untyped-def]
    """The stream's lines; one beyond the limit is dropped in pieces."""
    if stream is None:
        return
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than the limit: asyncio has dropped it
        if not line:
            return
        yield line


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
