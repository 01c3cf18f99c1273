"""Thawing a guest without libvirt: over the socket of its agent, which QEMU serves and which is free once libvirtd is dead.

Only for that case. QEMU serves one client: while libvirtd lives, alive or hung, nobody else is answered, and nothing is sent.
"""

import json
import os
import socket
from contextlib import closing
from pathlib import Path

ANSWER_SECONDS = 3.0
_SYNC_MARK = b"\xff"  # resets the agent's parser, and precedes the answer to guest-sync-delimited
_LONGEST_ANSWER_BYTES = 65_536


def thaw_directly(path: Path, answer_seconds: float = ANSWER_SECONDS) -> bool:
    """Whether the guest's agent said that it thawed. Never raises: False when nobody answers there.

    The order is sent only after the agent answered a sync: an order that waits in the socket would be carried out later, in the midst
    of somebody else's freeze.
    """
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as agent:
            agent.settimeout(answer_seconds)
            agent.connect(str(path))
            number = int.from_bytes(os.urandom(4))
            agent.sendall(_SYNC_MARK + _command("guest-sync-delimited", id=number))
            if _answer(agent, after=_SYNC_MARK).get("return") != number:
                return False
            agent.sendall(_command("guest-fsfreeze-thaw"))
            return "return" in _answer(agent)
    except (OSError, ValueError):
        return False


def _command(name: str, **arguments: int) -> bytes:
    return json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"


def _answer(agent: socket.socket, after: bytes = b"") -> dict[str, object]:
    """The next line, counted from the last `after`. Raises OSError, ValueError."""
    text = line = b""
    while after not in text or b"\n" not in line:
        block = agent.recv(4096)
        if not block or len(text) > _LONGEST_ANSWER_BYTES:
            raise ValueError("the agent went away in the midst of its answer")
        text += block
        line = text.rpartition(after)[2] if after else text
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
