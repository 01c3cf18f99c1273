"""A webhook: one signed POST over HTTP/1.1. Where it goes is the administrator's choice alone; what comes back is one number.

Redirects are not followed and count as failures, proxies of the environment are not used, and nothing of the answer but its status is read:
whoever can make the controller call learns nothing about the networks that it sees.
"""

import asyncio
import hashlib
import hmac
import socket
import ssl
from collections.abc import Iterator
from functools import partial

from seawall.controller.hooks.aside import Aside
from seawall.controller.hooks.directory import Webhook
from seawall.controller.hooks.outcome import Outcome

LONGEST_LINE_BYTES = 8192
MOST_PROVISIONAL = 10
UNTRUSTED = "Its certificate is not trusted here, or names another host."


def signature(secret: str, seconds: int, body: bytes) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 of "<seconds>." and the body. Whoever checks it refuses times that are minutes away."""
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


async def post(
    webhook: Webhook, body: bytes, call_id: str, stage: str, now_seconds: int, aside: Aside, timeout_seconds: float
) -> Outcome:
    """The caller limits the time to `timeout_seconds`. No sentence shows the URL."""
    try:
        context = await aside.run(partial(_trusted, webhook))
    except OSError:  # ssl.SSLError is one
        return Outcome(False, "Its ca_file cannot be read as certificates.")
    try:
        reader, writer = await _connected(webhook, context, aside, timeout_seconds)
    except ssl.SSLCertVerificationError:
        return Outcome(False, UNTRUSTED)
    except (OSError, UnicodeError) as error:
        return Outcome(False, f"It could not be reached ({type(error).__name__}).")
    try:
        writer.write(_request(webhook, body, call_id, stage, now_seconds))
        await writer.drain()
        return await _answer(reader)
    except (OSError, ValueError) as error:
        return Outcome(False, f"The connection broke before it answered ({type(error).__name__}).")
    finally:
        writer.close()


def _trusted(webhook: Webhook) -> ssl.SSLContext | None:
    """Reads the machine's certificates, which takes its time. Raises OSError."""
    return ssl.create_default_context(cafile=webhook.ca_file or None) if webhook.url.scheme == "https" else None


async def _connected(
    webhook: Webhook, context: ssl.SSLContext | None, aside: Aside, timeout_seconds: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first of the host's addresses that answers; each has the same share of the time. Raises OSError, UnicodeError."""
    host, port = str(webhook.url.hostname), webhook.url.port or (443 if context else 80)
    found = await aside.run(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    last: OSError = ConnectionError("no address")
    for *_, address in found:
        try:
            async with asyncio.timeout(timeout_seconds / len(found)):
                return await asyncio.open_connection(
                    str(address[0]),
                    port,
                    ssl=context,
                    server_hostname=host if context else None,
                    limit=LONGEST_LINE_BYTES,
                )
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:  # TimeoutError is one
            last = error
    raise last


async def _answer(reader: asyncio.StreamReader) -> Outcome:
    """Of the final answer: what comes before it (1xx) is passed over."""
    for _ in range(MOST_PROVISIONAL):
        status = _status(await reader.readline())
        if status is None:
            return Outcome(False, "It did not answer in HTTP/1.1.")
        if status >= 200:
            redirected = " Redirects are not followed." if 300 <= status < 400 else ""
            return Outcome(200 <= status < 300, f"It answered {status}.{redirected}")
        while (await reader.readline()).strip():
            pass
    return Outcome(False, "It sent provisional answers alone.")


def _status(line: bytes) -> int | None:
    parts = line.split(None, 2)
    known = len(parts) > 1 and parts[0].startswith(b"HTTP/1.") and len(parts[1]) == 3 and parts[1].isdigit()
    return int(parts[1]) if known else None


def _request(webhook: Webhook, body: bytes, call_id: str, stage: str, now_seconds: int) -> bytes:
    lines = "\r\n".join(f"{name}: {value}" for name, value in _headers(webhook, body, call_id, stage, now_seconds))
    target = (webhook.url.path or "/") + (f"?{webhook.url.query}" if webhook.url.query else "")
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n\r\n".encode() + body


def _headers(webhook: Webhook, body: bytes, call_id: str, stage: str, now_seconds: int) -> Iterator[tuple[str, str]]:
    yield "Host", webhook.url.netloc
    yield "Content-Type", "application/json"
    yield "Content-Length", str(len(body))
    yield "Connection", "close"
    yield "User-Agent", "Seawall"
    yield "Idempotency-Key", call_id
    yield "Seawall-Stage", stage
    if webhook.secret:
        yield "Seawall-Signature", signature(webhook.secret, now_seconds, body)
    yield from webhook.headers.items()
