"""What the proxy is told over its unix socket: one JSON document a line, answered by one each. `control.FaultProxy` is the other end."""

import asyncio
import contextlib
import json
import re
from dataclasses import asdict
from typing import Any

from deploy.lab.fault_proxy.book import RuleBook
from deploy.lab.fault_proxy.rules import rule_from_json

LONGEST_AWAIT_SECONDS = 600.0
LINE_BYTES = 64 * 1024
_COUNTS = ("taken", "held", "over")


class Commands:
    """Of one rule book."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return await self._carry_out(json.loads(line))
        except (KeyError, TypeError, ValueError, re.error) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    async def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        book = self._book
        match order["do"]:
            case "add":
                return {"rule": book.add(rule_from_json(order["rule"]))}
            case "end":
                book.end(order["rule"])
                return {}
            case "clear":
                book.end_all()
                return {}
            case "counts":
                live = book.counts(order["rule"])
                return {name: getattr(live, name) for name in _COUNTS}
            case "await":
                return {"reached": await self._await(order)}
            case "log":
                return {"log": [asdict(entry) for entry in book.log if entry.number > order["after"]]}
        raise ValueError(f"no such order: {order['do']}")

    async def _await(self, order: dict[str, Any]) -> bool:
        live, name, least = self._book.counts(order["rule"]), order["count"], int(order["least"])
        if name not in _COUNTS:
            raise ValueError(f"no such count: {name}")
        async with self._book.changed:
            with contextlib.suppress(TimeoutError):
                waiting = self._book.changed.wait_for(lambda: getattr(live, name) >= least)
                await asyncio.wait_for(waiting, min(float(order["seconds"]), LONGEST_AWAIT_SECONDS))
        return bool(getattr(live, name) >= least)
