"""One worker process: exec'ed, told its work on stdin, its questions answered, its end judged. Belongs to the event loop."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.services.blocking import Blocking
from seawall.repository.collecting.port import LedgerBusy, LedgerRefused

MODULE = "seawall.controller.maintenance.worker"
LONGEST_LINE_BYTES = 64 << 20
SILENCE_SECONDS = 1800.0
"""A worker that asks nothing for so long is killed: every call of a store ends far sooner."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended. One of the two, or neither: it died. `failure`: {"reason", "message", "temporary"}."""

    result: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    died: str = ""


class WorkerProcess:
    """Killed with `kill`; `run` then answers that it died."""

    def __init__(self, order: Mapping[str, Any], calls: Calls, blocking: Blocking) -> None:
        """`order`: what the worker is told, secrets and all; it goes through a pipe and nowhere else."""
        self._order = order
        self._calls = calls
        self._blocking = blocking
        self._process: asyncio.subprocess.Process | None = None
        self._killed = ""

    async def run(self) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE_BYTES,
            start_new_session=True,  # a terminal's Ctrl-C is the controller's to answer
        )
        self._process = process
        if self._killed:
            process.kill()
        try:
            return await self._talk(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def kill(self, why: str) -> None:
        self._killed = self._killed or why
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _talk(self, process: asyncio.subprocess.Process) -> Outcome:
        try:
            await self._say(process, self._order)
            while True:
                message = await self._hear(process)
                if "call" not in message:
                    return Outcome(message.get("result"), message.get("failure"))
                await self._say(process, await self._answer(message))
        except (ConnectionError, EOFError, TimeoutError) as error:
            return Outcome(died=self._killed or str(error))

    async def _hear(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """Raises EOFError, TimeoutError."""
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), SILENCE_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"it asked nothing for {SILENCE_SECONDS:.0f} s") from error
        if not line.endswith(b"\n"):
            raise EOFError("it ended without a word")
        message: dict[str, Any] = json.loads(line)
        return message

    async def _say(self, process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
        if process.stdin is None:
            raise AssertionError("stdin is a pipe")
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdin.drain()

    async def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call = self._calls[message["call"]]
        try:
            return {"answer": await self._blocking.run(partial(call, message["body"]))}
        except LedgerRefused as error:
            return {"refused": {"reason": error.reason, "message": str(error)}}
        except LedgerBusy as error:
            return {"busy": {"message": str(error)}}
        except Unavailable as error:
            return {"busy": {"message": str(error)}}
        except ControllerError as error:
            # `Blocking` turns what stores say into these.
            return {"refused": {"reason": error.reason, "message": str(error)}}
